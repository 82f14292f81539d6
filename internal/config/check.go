package config

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The checks below each add at most one fault for a key, and say what would be allowed.

func (r *report) httpURL(key, value string) {
	u, err := url.Parse(value)
	switch {
	case value == "":
		r.add(key, "is required; give an http or https URL, for example \"http://datastorage:8080\"")
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		r.add(key, "%q is not an http or https URL with a host, for example \"http://datastorage:8080\"", clip(value))
	case u.User != nil:
		r.add(key, "must not hold a user or a password")
	case u.RawQuery != "" || u.Fragment != "":
		r.add(key, "%q must end with its path: no query and no fragment", clip(value))
	default:
		r.portOf(key, u.Port())
	}
}

func (r *report) portOf(key, text string) {
	if text == "" {
		return
	}
	if port, err := strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
		r.add(key, "port %q is not between 1 and 65535", clip(text))
	}
}

// listenAddress takes "host:port", ":port" and, to turn the listener off, "0".
func (r *report) listenAddress(key, value string) {
	if value == "0" {
		return
	}
	_, port, err := net.SplitHostPort(value)
	n, perr := strconv.Atoi(port)
	if err != nil || perr != nil || n < 0 || n > 65535 {
		r.add(key, "%q is not an address to listen on; write \":8081\" or \"127.0.0.1:8081\", or \"0\" for none", clip(value))
	}
}

func (r *report) port(key string, value int) {
	if value != 0 && (value < 1024 || value > 65535) {
		r.add(key, "%d is not between 1024 and 65535 (or 0, for any free port)", value)
	}
}

func (r *report) between(key string, value, low, high time.Duration) {
	if value < low || value > high {
		r.add(key, "%s is not between %s and %s", value, low, high)
	}
}

func number[N cmp.Ordered](r *report, key string, value, low, high N) {
	if value < low || value > high {
		r.add(key, "%v is not between %v and %v", value, low, high)
	}
}

func (r *report) required(key, value string) {
	if strings.TrimSpace(value) == "" {
		r.add(key, "is required and must not be empty")
	}
}

func (r *report) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		quoted := make([]string, len(allowed))
		for i, a := range allowed {
			quoted[i] = strconv.Quote(a)
		}
		r.add(key, "%q is not one of %s", clip(value), strings.Join(quoted, ", "))
	}
}

// namespaces checks a list of Kubernetes namespace names.
func (r *report) namespaces(key string, names []string) {
	for i, name := range names {
		if !isLabel(name) {
			r.add(fmt.Sprintf("%s[%d]", key, i), "%q is not a namespace name: lower-case letters, digits and dashes, at most 63", clip(name))
		}
	}
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
