package diagnose

import (
	"math"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// milli reads a quantity in thousandths of its unit, so that CPU and memory share one arithmetic;
// it saturates. ok is false for what is no quantity.
func milli(v Value) (n int64, ok bool) {
	text := v.Text()
	if text == "" || len(text) > 64 {
		return 0, false
	}
	if n, ok := plainQuantity(text); ok {
		return n, true
	}
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, false
	}
	if q.CmpInt64(math.MaxInt64/1000) >= 0 {
		return math.MaxInt64, true
	}
	return q.MilliValue(), true
}

// plainQuantity reads the forms that nearly all quantities have: a whole number alone, of thousandths, or of binary units.
func plainQuantity(text string) (int64, bool) {
	i := 0
	var n int64
	for ; i < len(text) && i < 10 && text[i] >= '0' && text[i] <= '9'; i++ {
		n = 10*n + int64(text[i]-'0')
	}
	if i == 0 {
		return 0, false
	}
	switch text[i:] {
	case "":
		return n * 1000, true
	case "m":
		return n, true
	case "Ki":
		return (n << 10) * 1000, true
	case "Mi":
		return (n << 20) * 1000, n < 1<<33
	case "Gi":
		return (n << 30) * 1000, n < 1<<23
	}
	return 0, false
}

// quantity writes thousandths as people write the resource: cores for CPU, binary units for bytes,
// plain numbers else.
func quantity(name string, n int64) string {
	if isBytes(name) {
		return resource.NewQuantity((n+999)/1000, resource.BinarySI).String()
	}
	return resource.NewMilliQuantity(n, resource.DecimalSI).String()
}

func isBytes(name string) bool {
	if strings.HasSuffix(name, "/requests.storage") {
		return true
	}
	switch name {
	case "memory", "ephemeral-storage", "storage", "requests.memory", "limits.memory", "requests.storage", "requests.ephemeral-storage", "limits.ephemeral-storage":
		return true
	}
	return false
}

// add saturates.
func add(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// requestsOf sums what the scheduler reserves for a Pod: the larger of its containers together and
// its largest init container, sidecars counted with both, plus the overhead of its runtime class.
func requestsOf(spec Value, field string) map[string]int64 {
	total, initial, sidecars := map[string]int64{}, map[string]int64{}, map[string]int64{}
	each := func(c Value, do func(name string, n int64)) {
		values := c.At("resources", field)
		for _, name := range values.Keys() {
			if n, ok := milli(values.At(name)); ok && n > 0 {
				do(name, n)
			}
		}
	}
	for _, c := range spec.At("containers").Items() {
		each(c, func(name string, n int64) { total[name] = add(total[name], n) })
	}
	for _, c := range spec.At("initContainers").Items() {
		if c.At("restartPolicy").Str() == "Always" {
			each(c, func(name string, n int64) {
				sidecars[name] = add(sidecars[name], n)
				total[name] = add(total[name], n)
			})
			continue
		}
		each(c, func(name string, n int64) { initial[name] = max(initial[name], add(n, sidecars[name])) })
	}
	for name, n := range initial {
		total[name] = max(total[name], n)
	}
	for _, name := range spec.At("resources", field).Keys() { // of the Pod as a whole
		if n, ok := milli(spec.At("resources", field, name)); ok {
			total[name] = n
		}
	}
	if field == "requests" {
		for _, name := range spec.At("overhead").Keys() {
			if n, ok := milli(spec.At("overhead", name)); ok {
				total[name] = add(total[name], n)
			}
		}
	}
	return total
}
