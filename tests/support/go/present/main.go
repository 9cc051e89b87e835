// Command present opens a TLS connection with a client certificate of any bytes and asks for some targets.
//
// Other clients read a certificate before they send it, and refuse or repair what is wrong with it. This one
// does neither. It reads one JSON object from standard input and writes one to standard output.
package main

import (
	"bufio"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const timeout = 10 * time.Second

type order struct {
	Address string
	Name    string   // server name, and the host of the requests
	Version string   // "1.2" or "1.3"
	Chain   [][]byte // the leaf first
	Key     string   // PKCS#8 in PEM
	Targets []string
}

type report struct {
	Statuses []int
	Error    string
}

func main() {
	var told order
	if err := json.NewDecoder(os.Stdin).Decode(&told); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	key, err := parseKey(told.Key)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	statuses, err := ask(told, key)
	seen := report{Statuses: statuses}
	if err != nil {
		seen.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		os.Exit(2)
	}
}

func parseKey(text string) (crypto.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the key is not PEM")
	}
	return x509.ParsePKCS8PrivateKey(block.Bytes)
}

func ask(told order, key crypto.PrivateKey) ([]int, error) {
	versions := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	identity := tls.Certificate{Certificate: told.Chain, PrivateKey: key}
	connection, err := tls.Dial("tcp", told.Address, &tls.Config{
		ServerName:         told.Name,
		MinVersion:         versions[told.Version],
		MaxVersion:         versions[told.Version],
		InsecureSkipVerify: true, // the tests ask what the server makes of the client's certificate
		// A callback, because a certificate that is configured otherwise is parsed first.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &identity, nil },
	})
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(connection)
	var statuses []int
	for _, target := range told.Targets {
		status, err := get(connection, reader, told.Name, target)
		if err != nil {
			return statuses, err
		}
		statuses = append(statuses, status)
	}
	return statuses, nil
}

func get(writer io.Writer, reader *bufio.Reader, host, target string) (int, error) {
	if _, err := fmt.Fprintf(writer, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, host); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}
