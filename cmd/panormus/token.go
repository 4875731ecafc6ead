package main

import (
	"context"
	"fmt"
	"io"

	"panormus/controlroom/auth"
)

// tokenCommand makes a token. Only its hash is for keeping: the token is shown once.
func tokenCommand(_ context.Context, args []string, out io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("want token NAME, the name of who will use it: %w", errUsage)
	}
	token, line, err := auth.NewToken(args[0])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The token, for %s alone:\n  %s\nThe line for the file that web.tokens names:\n  %s\n", args[0], token, line)
	return err
}
