package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"panormus/controlroom/auth"
)

// tokenCommand makes a token. Only its hash is for keeping: the token is shown once.
func tokenCommand(_ context.Context, args []string, out io.Writer) error {
	if len(args) < 2 {
		return fmt.Errorf("want token NAME role=viewer, the name of who will use it and what it may do, and perhaps areas=lighting expires=2027-01-31: %w", errUsage)
	}
	if _, err := auth.ParseGrant(args[1:]); err != nil {
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	token, line, err := auth.NewToken(args[0])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The token, for %s alone:\n  %s\nThe line for the file that web.tokens names:\n  %s\n", args[0], token, strings.Join(append([]string{line}, args[1:]...), " "))
	return err
}
