// Command tool may read the environment.
package main

import "os"

func main() { _ = os.Getenv("A") }
