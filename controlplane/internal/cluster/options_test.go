package cluster

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func TestDefaultControllersExist(t *testing.T) {
	known := make(map[string]bool)
	for _, name := range app.KnownControllers() {
		known[name] = true
	}
	for _, name := range DefaultControllers() {
		if !known[name] {
			t.Errorf("kube-controller-manager has no %q", name)
		}
	}
}

func TestServiceAccounts(t *testing.T) {
	for list, want := range map[string]bool{
		"":                                      false,
		"*":                                     true,
		"*,-serviceaccount":                     false,
		"*,-serviceaccount-controller":          false,
		"serviceaccount":                        true,
		"deployment, serviceaccount-controller": true,
		"deployment-controller":                 false,
		strings.Join(DefaultControllers(), ","): true,
	} {
		var o Options
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.AddFlags(fs)
		if err := fs.Parse([]string{"--controllers=" + list}); err != nil {
			t.Fatal(err)
		}
		if got := o.serviceAccounts(); got != want {
			t.Errorf("--controllers=%s: got %v, want %v", list, got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	bad := Options{Port: -1, Verbosity: -1, APIServerArgs: []string{"v=1"}, ControllerManagerArgs: []string{"x"}}
	err := bad.validate()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"--port=-1", "--v=-1", `"v=1"`, `"x"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to mention %s", err, want)
		}
	}
	if err := new(Options).validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}
