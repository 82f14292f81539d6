package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"kubernaut.ai/kubernaut/test/e2e/faultproxy"
)

// routes are the services that the proxy stands in front of.
type routes []route

type route struct{ name, address, upstream string }

// String implements flag.Value.
func (r *routes) String() string { return fmt.Sprint(*r) }

// Set implements flag.Value.
func (r *routes) Set(text string) error {
	parts := strings.SplitN(text, "=", 3)
	if len(parts) != 3 {
		return errors.New("a route is NAME=ADDRESS=UPSTREAM, such as hapi=:8080=http://holmesgpt-api:8080")
	}
	*r = append(*r, route{parts[0], parts[1], parts[2]})
	return nil
}

func proxy(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	var to routes
	set := flag.NewFlagSet("proxy", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Var(&to, "route", "`NAME=ADDRESS=UPSTREAM`; may be repeated")
	control := set.String("control", ":8090", "`address` of the control endpoint")
	if err := set.Parse(args); err != nil {
		return 2, nil //nolint:nilerr // the flag set has said what is wrong
	}
	if len(to) == 0 {
		return 2, errors.New("at least one -route is needed")
	}
	p := faultproxy.New(slog.New(slog.NewJSONHandler(stderr, nil)))
	endpoints := []endpoint{{"control", *control, p.Control()}}
	for _, r := range to {
		h, err := p.Route(r.name, r.upstream)
		if err != nil {
			return 2, err
		}
		endpoints = append(endpoints, endpoint{r.name, r.address, h})
	}
	if err := listen(ctx, stdout, endpoints...); err != nil {
		return 1, err
	}
	return 0, nil
}
