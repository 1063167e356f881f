// Command cmd is a command.
package main
