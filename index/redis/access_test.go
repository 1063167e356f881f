package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/redis"
)

// TestAuth: user and password, and what the user may do.
func TestAuth(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.must("ACL", "SETUSER", "kv", "on", ">secret", "~*", "&*", "+@all", "-config", "-info")
	s.must("ACL", "SETUSER", "poor", "on", ">secret", "~other*", "&*", "+@all")
	s.must("ACL", "SETUSER", "default", "off")
	o := s.options(index.Options{})
	o.Timeout = time.Second
	_, err := redis.Open(t.Context(), o)
	require.ErrorIs(t, err, redis.ErrDenied)
	o.Username, o.Password = "kv", "wrong"
	_, err = redis.Open(t.Context(), o)
	require.ErrorIs(t, err, redis.ErrDenied)
	o.Username, o.Password = "poor", "secret"
	_, err = redis.Open(t.Context(), o)
	require.ErrorIs(t, err, redis.ErrDenied)
	o.Username = "kv"
	x, r := s.open(t, o), record(0)
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	require.Equal(t, []int{1, 1, 1, 1, 1, 1}, reads(t, x, &r))
}

// TestTLS: the server shows a certificate, and wants one.
func TestTLS(t *testing.T) {
	t.Parallel()
	needServer(t)
	dir := t.TempDir()
	pool, ours := certificates(t, dir)
	port := strconv.Itoa(freePort(t))
	s := &server{t: t, dir: dir, address: "127.0.0.1:" + port}
	s.args = []string{"--port", "0", "--tls-port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir,
		"--tls-cert-file", filepath.Join(dir, "cert"), "--tls-key-file", filepath.Join(dir, "key"), "--tls-ca-cert-file", filepath.Join(dir, "cert")}
	s.start()
	t.Cleanup(s.kill)
	o := s.options(index.Options{})
	o.Timeout = 2 * time.Second
	o.TLS = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{ours}, MinVersion: tls.VersionTLS12}
	x, r := s.open(t, o), record(0)
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	require.Equal(t, []int{1, 1, 1, 1, 1, 1}, reads(t, x, &r))

	o.TLS = &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{ours}, MinVersion: tls.VersionTLS12}
	_, err := redis.Open(t.Context(), o)
	require.ErrorIs(t, err, redis.ErrDenied, "a certificate of somebody else")
	o.TLS, o.Timeout = nil, 100*time.Millisecond
	_, err = redis.Open(t.Context(), o)
	require.Error(t, err, "no TLS")
}

// certificates writes a certificate that signs itself, for server and client.
func certificates(t testing.TB, dir string) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cert"), certPEM, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key"), keyPEM, 0o600))
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(certPEM))
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	require.NoError(t, err)
	return pool, pair
}

// TestReplica: a replica takes no records, and says what to do.
func TestReplica(t *testing.T) {
	t.Parallel()
	primary := startTCP(t)
	host, port, err := net.SplitHostPort(primary.address)
	require.NoError(t, err)
	s := startServer(t)
	o := s.options(index.Options{})
	o.Timeout = time.Second
	x := s.open(t, o)
	s.must("REPLICAOF", host, port)
	// The last attempt in the time that a call has may get no answer.
	require.Eventually(t, func() bool {
		return errors.Is(x.Put(t.Context(), []index.Record{record(0)}), kvferry.ErrReadOnly)
	}, patience, tick)
	require.Empty(t, consistent(t, x))
	s.must("REPLICAOF", "NO", "ONE")
	require.Eventually(t, func() bool { return x.Put(t.Context(), []index.Record{record(0)}) == nil }, patience, tick)
}

// TestAway: no server at all.
func TestAway(t *testing.T) {
	t.Parallel()
	_, err := redis.Open(t.Context(), redis.Options{Addresses: []string{"/nowhere/at/all"}, Timeout: 50 * time.Millisecond})
	require.ErrorIs(t, err, redis.ErrUnavailable)
	s := startServer(t)
	o := s.options(index.Options{})
	o.Timeout = 500 * time.Millisecond
	x := s.open(t, o)
	s.kill()
	require.Eventually(t, func() bool {
		// The first call may find that the connection broke when it had sent.
		err := x.Put(t.Context(), []index.Record{record(0)})
		require.Error(t, err)
		return strings.Contains(err.Error(), redis.ErrUnavailable.Error())
	}, patience, tick)
	_, err = x.Metrics(t.Context())
	require.ErrorIs(t, err, redis.ErrUnavailable)
	s.start()
	require.Eventually(t, func() bool { return x.Put(t.Context(), []index.Record{record(0)}) == nil }, patience, tick)
	require.Len(t, consistent(t, x), 1)
}

// TestOptions: what cannot be is refused before anything is dialled.
func TestOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]redis.Options{
		"no address":       {},
		"brace":            {Addresses: []string{"a:1"}, Prefix: "a{b"},
		"lease":            {Addresses: []string{"a:1"}, Lease: time.Microsecond},
		"negative lease":   {Addresses: []string{"a:1"}, Lease: -time.Second},
		"negative timeout": {Addresses: []string{"a:1"}, Timeout: -1},
		"rules":            {Addresses: []string{"a:1"}, Options: index.Options{Rules: 9}},
	} {
		_, err := redis.Open(t.Context(), o)
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
	}
}
