package diagnose

import (
	"reflect"
	"testing"
)

// TestCatalogueIsListed fails when go generate has not been run after a rule was written.
func TestCatalogueIsListed(t *testing.T) {
	all := catalogue{}.all()
	methods := reflect.TypeFor[catalogue]()
	for m := range methods.Methods() {
		if _, ok := all[m.Name]; !ok {
			t.Errorf("rule %s is not listed: run make generate", m.Name)
		}
	}
	if len(all) != methods.NumMethod() {
		t.Errorf("%d rules are listed, and there are %d", len(all), methods.NumMethod())
	}
	for name, r := range all {
		if len(r.explains) == 0 || r.why == nil {
			t.Errorf("rule %s explains nothing", name)
		}
	}
}
