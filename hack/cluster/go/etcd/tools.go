//go:build tools

// Package tools names the commands of this set, so that go.mod and go.sum pin everything they are built from.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
)
