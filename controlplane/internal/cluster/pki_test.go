package cluster

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestCertificatesAreMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	now := time.Now()
	read := func(at time.Time) []byte {
		t.Helper()
		p, err := openPKI(dir, at)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(p.serverCert())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := read(now)
	if !bytes.Equal(first, read(now.Add(time.Hour))) {
		t.Error("a second start made new certificates")
	}
	if bytes.Equal(first, read(now.Add(certLifetime-certRenewal+time.Hour))) {
		t.Error("certificates near their end were kept")
	}
}

func TestCertificatesAreMadeAnewWhenIncomplete(t *testing.T) {
	for _, file := range []func(pki) string{pki.caCert, pki.serverCert, pki.serverKey, pki.adminCert, pki.adminKey, pki.tokenKey} {
		dir := filepath.Join(t.TempDir(), "pki")
		p, err := openPKI(dir, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		lost := file(p)
		if err := os.Remove(lost); err != nil {
			t.Fatal(err)
		}
		if _, err := openPKI(dir, time.Now()); err != nil {
			t.Errorf("without %s: %v", lost, err)
		}
		if _, err := os.Stat(lost); err != nil {
			t.Errorf("not made anew: %v", err)
		}
	}
}

func TestCertificatesVerify(t *testing.T) {
	p, err := openPKI(filepath.Join(t.TempDir(), "pki"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(p.caCert())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("no certificate in ca.crt")
	}
	for _, row := range []struct {
		cert, key, host string
		usage           x509.ExtKeyUsage
	}{
		{p.serverCert(), p.serverKey(), "127.0.0.1", x509.ExtKeyUsageServerAuth},
		{p.serverCert(), p.serverKey(), "10.96.0.1", x509.ExtKeyUsageServerAuth},
		{p.serverCert(), p.serverKey(), "kubernetes.default.svc", x509.ExtKeyUsageServerAuth},
		{p.adminCert(), p.adminKey(), "", x509.ExtKeyUsageClientAuth},
	} {
		c, err := tls.LoadX509KeyPair(row.cert, row.key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: row.host, KeyUsages: []x509.ExtKeyUsage{row.usage}}); err != nil {
			t.Errorf("%s for host %q: %v", filepath.Base(row.cert), row.host, err)
		}
	}
}
