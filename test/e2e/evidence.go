package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Bundle is a stored evidence bundle, read without the code that wrote it.
type Bundle struct {
	Digest string
	Text   []byte // unpacked
	reads  []struct{ Kind, Namespace, Name, Selector string }
	places map[string]any // an object or event by kind, namespace and name
	logs   map[string][]string
}

// Bundle gets an evidence bundle and checks that it is the one of the digest.
func (s *System) Bundle(ctx context.Context, digest string) (*Bundle, error) {
	a, err := s.Get(ctx, s.DataStorage+"/api/v1/bundles/"+digest)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", digest, err)
	}
	if a.Status != http.StatusOK {
		return nil, fmt.Errorf("bundle %s: %s", digest, a)
	}
	sum := sha256.Sum256(a.Body)
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != digest {
		return nil, fmt.Errorf("the bundle at %s has the digest %s", digest, got)
	}
	return readBundle(digest, a.Body)
}

func readBundle(digest string, packed []byte) (*Bundle, error) {
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", digest, err)
	}
	text, err := io.ReadAll(zr)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", digest, err)
	}
	var raw struct {
		Reads   []struct{ Kind, Namespace, Name, Selector string } `json:"reads"`
		Objects []struct{ Object map[string]any }                  `json:"objects"`
		Events  []struct{ Object map[string]any }                  `json:"events"`
		Logs    []struct {
			Pod struct {
				Namespace, Name string
			} `json:"pod"`
			Container string   `json:"container"`
			Previous  bool     `json:"previous"`
			Lines     []string `json:"lines"`
		} `json:"logs"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&raw); err != nil {
		return nil, fmt.Errorf("bundle %s: %w", digest, err)
	}
	b := &Bundle{Digest: digest, Text: text, reads: raw.Reads, places: map[string]any{}, logs: map[string][]string{}}
	for _, o := range append(raw.Objects, raw.Events...) {
		m, _ := o.Object["metadata"].(map[string]any)
		b.places[placeOf(o.Object["kind"], m["namespace"], m["name"])] = o.Object
	}
	for _, l := range raw.Logs {
		run := "current"
		if l.Previous {
			run = "previous"
		}
		b.logs[l.Pod.Namespace+"/"+l.Pod.Name+"/"+l.Container+"/"+run] = l.Lines
	}
	return b, nil
}

func placeOf(kind, namespace, name any) string {
	if namespace == nil {
		namespace = ""
	}
	return fmt.Sprint(kind, " ", namespace, "/", name)
}

// Check reads every piece of evidence again from the bundle and returns what does not hold.
func (b *Bundle) Check(evidence []v1alpha1.Evidence) error {
	var errs []error
	for _, e := range evidence {
		if err := b.check(e); err != nil {
			errs = append(errs, fmt.Errorf("evidence %s (%s %s %s/%s %s): %w", e.ID, e.Kind, e.Ref.Kind, e.Ref.Namespace, e.Ref.Name, e.Path, err))
		}
	}
	return errors.Join(errs...)
}

func (b *Bundle) check(e v1alpha1.Evidence) error {
	found, there, err := b.read(e)
	switch {
	case err != nil:
		return err
	case e.Absent && there:
		return errors.New("said to be absent, but the bundle has it")
	case e.Absent:
		return nil
	case !there:
		return errors.New("the bundle does not have it")
	}
	sum := sha256.Sum256([]byte(found))
	if got := hex.EncodeToString(sum[:]); got != e.SHA256 {
		return fmt.Errorf("the bundle has %q with SHA-256 %s, the evidence says %s", clip(found), got, e.SHA256)
	}
	if found != e.Value && !strings.HasPrefix(found, strings.TrimSuffix(e.Value, "…")) {
		return fmt.Errorf("the bundle has %q, the evidence says %q", clip(found), clip(e.Value))
	}
	return nil
}

// read returns the text at the place that evidence names.
func (b *Bundle) read(e v1alpha1.Evidence) (text string, there bool, err error) {
	if e.Kind == "log" {
		i := strings.LastIndex(e.Path, "/")
		line, err := strconv.Atoi(e.Path[i+1:])
		if err != nil {
			return "", false, fmt.Errorf("the path has no line: %w", err)
		}
		lines := b.logs[e.Ref.Namespace+"/"+e.Ref.Name+"/"+e.Path[:max(i, 0)]]
		if line < 0 || line >= len(lines) {
			return "", false, nil
		}
		return lines[line], true, nil
	}
	at, ok := b.places[placeOf(e.Ref.Kind, e.Ref.Namespace, e.Ref.Name)]
	if !ok {
		if e.Absent && !b.asked(e.Ref) {
			return "", false, errors.New("said to be absent, but it was not asked for")
		}
		return "", false, nil
	}
	for _, step := range strings.Split(e.Path, "/")[1:] {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch v := at.(type) {
		case map[string]any:
			at, ok = v[step]
		case []any:
			n, err := strconv.Atoi(step)
			if ok = err == nil && n >= 0 && n < len(v); ok {
				at = v[n]
			}
		default:
			ok = false
		}
		if !ok {
			return "", false, nil
		}
	}
	if s, ok := at.(string); ok {
		return s, true, nil
	}
	canonical, err := json.Marshal(at)
	return string(canonical), true, err
}

// asked reports whether the bundle's reads cover an object.
func (b *Bundle) asked(ref v1alpha1.ObjectRef) bool {
	for _, r := range b.reads {
		if r.Kind == ref.Kind && r.Selector == "" && (r.Namespace == ref.Namespace || r.Namespace == "") && (r.Name == "" || r.Name == ref.Name) {
			return true
		}
	}
	return false
}

// CheckLive compares the objects that evidence names with those of the cluster: one that exists must
// be the one that was read, and one that was not there must still not be. Pods and events come and
// go; of them only those that are there are compared.
func (s *System) CheckLive(ctx context.Context, evidence []v1alpha1.Evidence) error {
	var errs []error
	for _, e := range evidence {
		if e.Kind != "object" || e.Ref.APIVersion == "" {
			continue
		}
		gv, err := schema.ParseGroupVersion(e.Ref.APIVersion)
		if err != nil {
			errs = append(errs, fmt.Errorf("evidence %s: %w", e.ID, err))
			continue
		}
		live := &metav1.PartialObjectMetadata{}
		live.SetGroupVersionKind(gv.WithKind(e.Ref.Kind))
		err = s.WithWatch.Get(ctx, types.NamespacedName{Namespace: e.Ref.Namespace, Name: e.Ref.Name}, live)
		absent := e.Absent && e.Path == ""
		switch {
		case err == nil && absent:
			errs = append(errs, fmt.Errorf("evidence %s: %s %s/%s exists", e.ID, e.Ref.Kind, e.Ref.Namespace, e.Ref.Name))
		case err == nil && e.Ref.UID != "" && string(live.UID) != e.Ref.UID:
			errs = append(errs, fmt.Errorf("evidence %s: %s %s/%s has uid %s, not %s", e.ID, e.Ref.Kind, e.Ref.Namespace, e.Ref.Name, live.UID, e.Ref.UID))
		case err != nil && !absent && e.Ref.Kind != "Pod":
			errs = append(errs, fmt.Errorf("evidence %s: %w", e.ID, err))
		}
	}
	return errors.Join(errs...)
}
