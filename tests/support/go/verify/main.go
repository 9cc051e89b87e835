// Command verify judges a certificate with Go's crypto/x509: its chain, its purpose, and a revocation list.
//
// It reads one JSON object from standard input and exits with 0 when all is well; otherwise it says what is not
// and exits with 1.
package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

type order struct {
	CA   string // PEM of the only root
	Leaf string // PEM
	CRL  string // PEM; empty: not looked at
	Host string // a host name: for a server certificate; empty: for a client certificate
	Now  int64  // Unix time
}

func main() {
	var told order
	err := json.NewDecoder(os.Stdin).Decode(&told)
	if err == nil {
		err = judge(told)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func judge(told order) error {
	authority, err := parse(told.CA)
	if err != nil {
		return fmt.Errorf("CA: %w", err)
	}
	leaf, err := parse(told.Leaf)
	if err != nil {
		return fmt.Errorf("leaf: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	now := time.Unix(told.Now, 0)
	usage := x509.ExtKeyUsageClientAuth
	if told.Host != "" {
		usage = x509.ExtKeyUsageServerAuth
	}
	options := x509.VerifyOptions{
		DNSName: told.Host, Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	}
	if _, err := leaf.Verify(options); err != nil {
		return err
	}
	if told.CRL == "" {
		return nil
	}
	return look(told.CRL, authority, leaf, now)
}

func look(text string, authority, leaf *x509.Certificate, now time.Time) error {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return errors.New("the CRL is not PEM")
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		return fmt.Errorf("CRL: %w", err)
	}
	if err := list.CheckSignatureFrom(authority); err != nil {
		return fmt.Errorf("CRL: %w", err)
	}
	if now.Before(list.ThisUpdate) || now.After(list.NextUpdate) {
		return errors.New("the CRL is not of this time")
	}
	for _, entry := range list.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			return fmt.Errorf("revoked, reason %d", entry.ReasonCode)
		}
	}
	return nil
}

func parse(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("not PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
