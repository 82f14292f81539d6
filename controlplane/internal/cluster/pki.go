package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	certLifetime = 10 * 365 * 24 * time.Hour
	certRenewal  = 30 * 24 * time.Hour // made anew when less than this is left at a start
	serviceRange = "10.96.0.0/16"
)

// pki is a directory with one certificate authority and what it has signed. The authority's key is thrown away: when
// a certificate nears its end all are made anew, and the kubeconfig with them.
type pki string

func (p pki) caCert() string     { return filepath.Join(string(p), "ca.crt") }
func (p pki) serverCert() string { return filepath.Join(string(p), "server.crt") }
func (p pki) serverKey() string  { return filepath.Join(string(p), "server.key") }
func (p pki) adminCert() string  { return filepath.Join(string(p), "admin.crt") }
func (p pki) adminKey() string   { return filepath.Join(string(p), "admin.key") }
func (p pki) tokenKey() string   { return filepath.Join(string(p), "serviceaccount.key") }

// openPKI returns the certificates in dir, made if they are not there, not readable or near their end.
func openPKI(dir string, now time.Time) (pki, error) {
	p := pki(dir)
	if p.usable(now) {
		return p, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("replace the certificates: %w", err)
	}
	// Written beside and renamed, so that a crash leaves no half set.
	next := pki(dir + ".new")
	if err := os.RemoveAll(string(next)); err != nil {
		return "", fmt.Errorf("replace the certificates: %w", err)
	}
	if err := os.MkdirAll(string(next), 0o700); err != nil {
		return "", fmt.Errorf("make the certificates: %w", err)
	}
	if err := next.generate(now); err != nil {
		return "", fmt.Errorf("make the certificates: %w", err)
	}
	if err := os.Rename(string(next), dir); err != nil {
		return "", fmt.Errorf("make the certificates: %w", err)
	}
	return p, nil
}

func (p pki) usable(now time.Time) bool {
	for cert, key := range map[string]string{p.serverCert(): p.serverKey(), p.adminCert(): p.adminKey()} {
		c, err := tls.LoadX509KeyPair(cert, key)
		if err != nil || now.Add(certRenewal).After(c.Leaf.NotAfter) {
			return false
		}
	}
	for _, f := range []string{p.caCert(), p.tokenKey()} {
		if _, err := os.Stat(f); err != nil {
			return false
		}
	}
	return true
}

func (p pki) generate(now time.Time) error {
	ca, err := p.issue(nil, p.caCert(), "", now, x509.Certificate{
		Subject: pkix.Name{CommonName: "controlplane-ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
	if err != nil {
		return err
	}
	_, serviceNet, err := net.ParseCIDR(serviceRange)
	if err != nil {
		return err
	}
	first := serviceNet.IP.To4() // the ClusterIP of default/kubernetes
	first[3]++
	if _, err := p.issue(ca, p.serverCert(), p.serverKey(), now, x509.Certificate{
		Subject: pkix.Name{CommonName: "kube-apiserver"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), first},
	}); err != nil {
		return err
	}
	if _, err := p.issue(ca, p.adminCert(), p.adminKey(), now, x509.Certificate{
		Subject: pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return writeKey(p.tokenKey(), key)
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a key and a certificate for it, signed by ca (nil: by itself), and writes both; keyFile "" keeps the key
// off the disk.
func (p pki) issue(ca *authority, certFile, keyFile string, now time.Time, tmpl x509.Certificate) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if tmpl.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, err
	}
	tmpl.NotBefore, tmpl.NotAfter = now.Add(-time.Hour), now.Add(certLifetime)
	if ca == nil {
		ca = &authority{cert: &tmpl, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return nil, err
	}
	if keyFile != "" {
		if err := writeKey(keyFile, key); err != nil {
			return nil, err
		}
	}
	return &authority{cert: cert, key: key}, nil
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

// writeKubeconfig writes a kubeconfig for the administrator; it holds the certificates, so the file can be copied.
func (p pki) writeKubeconfig(file, url string) error {
	ca, err := os.ReadFile(p.caCert())
	if err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	cert, err := os.ReadFile(p.adminCert())
	if err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	key, err := os.ReadFile(p.adminKey())
	if err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	const name = "controlplane"
	c := clientcmdapi.NewConfig()
	c.Clusters[name] = &clientcmdapi.Cluster{Server: url, CertificateAuthorityData: ca}
	c.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	c.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	c.CurrentContext = name
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	return nil
}
