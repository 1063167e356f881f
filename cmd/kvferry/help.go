package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// helpCommand is cobra's, except that a topic which does not exist is wrong
// usage.
func (a *app) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command; always as text",
		RunE: func(c *cobra.Command, args []string) error {
			topic, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usage(fmt.Errorf("there is no command %q to explain; see %q", strings.Join(args, " "), c.Root().CommandPath()+" --help"))
			}
			topic.InitDefaultHelpFlag() // so that the text shows it
			return topic.Help()
		},
	}
}

// needShell makes cobra's completion command fail where it names no shell that
// it knows.
func needShell(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.RunE = func(*cobra.Command, []string) error {
				return usage(fmt.Errorf("completion of which shell? See %q", root.CommandPath()+" completion --help"))
			}
		}
	}
}
