//go:build !linux

package main

import "errors"

func saveSignals() (restore func()) { return func() {} }

func fence(dir, lib string) error { return errors.New("only Linux has Landlock") }
