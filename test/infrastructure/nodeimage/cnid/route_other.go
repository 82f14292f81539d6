//go:build !linux

package main

import (
	"errors"
	"net/netip"
)

func replaceRoute(netip.Prefix, netip.Addr) error { return errors.ErrUnsupported }
