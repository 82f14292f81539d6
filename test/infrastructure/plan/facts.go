package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"sync"
)

// Facts are what phases tell later phases and later runs: values by key, kept as JSON in the checkpoint. They are safe for
// concurrent use. The zero value is empty.
type Facts struct {
	mu     sync.Mutex
	values map[string]json.RawMessage
}

// Set keeps a value. It errs if v has no JSON form.
func (f *Facts) Set(key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("fact %s: %w", key, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.values == nil {
		f.values = make(map[string]json.RawMessage)
	}
	f.values[key] = raw
	return nil
}

// Get reads a value into *v, and says whether there is one. It errs if the value is of another shape.
func (f *Facts) Get(key string, v any) (bool, error) {
	f.mu.Lock()
	raw, ok := f.values[key]
	f.mu.Unlock()
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return false, fmt.Errorf("fact %s: %w", key, err)
	}
	return true, nil
}

// all returns the facts.
func (f *Facts) all() map[string]json.RawMessage {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.values)
}
