package recorded_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/observe"
	"kubernaut.ai/kubernaut/internal/observe/recorded"
)

// An archive is read as the directory that it was made of.
func TestArchive(t *testing.T) {
	files := map[string]string{
		"dump/pods.txt":   "NAME      READY   STATUS             RESTARTS   AGE\nledger-0   0/1     CrashLoopBackOff   7          21m\n",
		"dump/events.txt": "LAST SEEN   TYPE      REASON    OBJECT         MESSAGE\n2m          Warning   BackOff   pod/ledger-0   Back-off restarting failed container\n",
	}
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	tw := tar.NewWriter(zw)
	tree := fstest.MapFS{}
	for _, name := range []string{"dump/events.txt", "dump/pods.txt"} {
		tree[name] = &fstest.MapFile{Data: []byte(files[name])}
		if err := tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(files[name])), Mode: 0o600, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	digest := func(r *recorded.Recording, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Leftover) > 0 {
			t.Errorf("left over: %v", r.Leftover)
		}
		_, sum, err := observe.Encode(r.Snapshot)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	want := digest(recorded.ReadDir(tree, recorded.Options{}))
	for name, got := range map[string]string{
		"file in a directory": digest(recorded.ReadDir(fstest.MapFS{"dump.tar.gz": {Data: packed.Bytes()}}, recorded.Options{})),
		"stream":              digest(recorded.ReadText(bytes.NewReader(packed.Bytes()), "dump.tar.gz", recorded.Options{})),
	} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: digest (-want +got):\n%s", name, diff)
		}
	}
}

func TestDamagedArchive(t *testing.T) {
	body := make([]byte, 600)
	copy(body[257:], "ustar")
	r, err := recorded.ReadText(bytes.NewReader(body), "dump.tar", recorded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Leftover) != 1 {
		t.Errorf("leftover = %v, want the archive", r.Leftover)
	}
}
