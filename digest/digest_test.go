package digest_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

func sum(t testing.TB, a digest.Algorithm, key *digest.Key, p string) digest.Digest {
	t.Helper()
	h, err := digest.NewHasher(a, key)
	require.NoError(t, err)
	return h.Sum([]byte(p))
}

// TestKnownSums holds the values that ProcessFork and BLAKE3 publish.
func TestKnownSums(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a          digest.Algorithm
		text, want string
	}{
		{digest.SHA256, "", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{digest.SHA256, "x", "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"},
		{digest.SHA256, "the quick brown fox", "sha256:9ecb36561341d18eb65484e833efea61edc74b84cf5e6ae1b81c63533e25fc8f"},
		{digest.SHA256, "sharding test", "sha256:db3a7920e4c12cc52bd5a9260ed8bf86f3a20e759c149e90bb28d94080284203"},
		{digest.BLAKE3, "", "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"},
	} {
		d := sum(t, c.a, nil, c.text)
		require.Equal(t, c.want, d.String())
		require.Equal(t, c.want, string(d.Append(nil)))
		back, err := digest.Parse(c.want)
		require.NoError(t, err)
		require.Equal(t, d, back)
	}
}

// TestKeyedSums: the key of BLAKE3's published test vectors, and a tenant's.
func TestKeyedSums(t *testing.T) {
	t.Parallel()
	key := digest.Key([]byte("whats the Elvish word for friend"))
	require.Equal(t, "blake3-keyed:92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26",
		sum(t, digest.KeyedBLAKE3, &key, "").String())
	a, b := digest.DeriveKey([]byte("salt a")), digest.DeriveKey([]byte("salt b"))
	require.NotEqual(t, a, b)
	require.Equal(t, a, digest.DeriveKey([]byte("salt a")))
	require.NotEqual(t, sum(t, digest.KeyedBLAKE3, &a, "page"), sum(t, digest.KeyedBLAKE3, &b, "page"))
	require.Equal(t, "ab716330407513f6fd6ea0a7741073fd00689ed03a6014c441c9d85b71222568", hex.EncodeToString(a[:]),
		"the derivation is part of the format")
}

func TestParseRejects(t *testing.T) {
	t.Parallel()
	hex64 := strings.Repeat("ab", 32)
	for _, s := range []string{
		"", ":", "sha256", "sha256:", hex64, "md5:abc", "sha256:short", "sha256:zzzz", "sha256:" + hex64[1:],
		"sha256:" + hex64 + "0", "sha256:" + strings.ToUpper(hex64), "SHA256:" + hex64, "blake3 :" + hex64,
		" sha256:" + hex64, "sha256:" + hex64 + "\n", "sha256:../../x", "invalid:" + hex64, "sha256::" + hex64[1:],
	} {
		d, err := digest.Parse(s)
		require.ErrorIs(t, err, kvferry.ErrInvalid, "%q", s)
		require.False(t, d.Valid())
	}
}

func TestZeroIsInvalid(t *testing.T) {
	t.Parallel()
	var d digest.Digest
	require.False(t, d.Valid())
	require.Equal(t, "invalid", d.String())
	_, err := json.Marshal(d)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = digest.NewHasher(0, nil)
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	_, err = digest.NewHasher(digest.KeyedBLAKE3, nil)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

func TestTextRoundTrip(t *testing.T) {
	t.Parallel()
	in := map[string]digest.Digest{"d": sum(t, digest.BLAKE3, nil, "x")}
	text, err := json.Marshal(in)
	require.NoError(t, err)
	var out map[string]digest.Digest
	require.NoError(t, json.Unmarshal(text, &out))
	require.Equal(t, in, out)
	require.Error(t, json.Unmarshal(bytes.Replace(text, []byte("blake3:"), []byte("blake4:"), 1), &out))
}

func TestCompareOrders(t *testing.T) {
	t.Parallel()
	ds := []digest.Digest{
		sum(t, digest.SHA256, nil, "a"), sum(t, digest.BLAKE3, nil, "b"), sum(t, digest.BLAKE3, nil, "a"), {},
	}
	slices.SortFunc(ds, digest.Digest.Compare)
	require.False(t, ds[0].Valid())
	require.Equal(t, digest.SHA256, ds[3].Algorithm())
	require.Less(t, ds[1].Hex(), ds[2].Hex())
	require.Zero(t, ds[1].Compare(ds[1]))
}

func TestCheck(t *testing.T) {
	t.Parallel()
	key := digest.DeriveKey([]byte("salt"))
	plain, err := digest.NewHasher(digest.BLAKE3, nil)
	require.NoError(t, err)
	tenant, err := digest.NewHasher(digest.KeyedBLAKE3, &key)
	require.NoError(t, err)
	for _, a := range []digest.Algorithm{digest.BLAKE3, digest.SHA256, digest.KeyedBLAKE3} {
		d := sum(t, a, &key, "content")
		require.NoError(t, tenant.Check(d, []byte("content")))
		require.ErrorIs(t, tenant.Check(d, []byte("other")), kvferry.ErrCorrupt)
		if a == digest.KeyedBLAKE3 {
			require.ErrorIs(t, plain.Check(d, []byte("content")), kvferry.ErrUnsupported)
		} else {
			require.NoError(t, plain.Check(d, []byte("content")))
		}
	}
	require.ErrorIs(t, plain.Check(digest.Digest{}, nil), kvferry.ErrUnsupported)
}

func TestHasherAllocatesNothing(t *testing.T) {
	page := make([]byte, 10_000)
	for _, a := range []digest.Algorithm{digest.BLAKE3, digest.SHA256} {
		h, err := digest.NewHasher(a, nil)
		require.NoError(t, err)
		h.Sum(page)
		require.Zero(t, testing.AllocsPerRun(20, func() { h.Sum(page) }), "%v", a)
	}
}

// TestSumMany: the digests are those that Sum makes, and nothing is allocated.
func TestSumMany(t *testing.T) {
	key := digest.DeriveKey([]byte("salt"))
	page := bytes.Repeat([]byte("keys and values "), 2000)
	parts := [][]byte{page[:2048], {}, page[:2048], page[:1500], page, page[:10]}
	for _, a := range []digest.Algorithm{digest.BLAKE3, digest.KeyedBLAKE3, digest.SHA256} {
		h, err := digest.NewHasher(a, &key)
		require.NoError(t, err)
		got := make([]digest.Digest, len(parts)+1)
		h.SumMany(got, parts)
		for i, p := range parts {
			require.Equal(t, sum(t, a, &key, string(p)), got[i])
		}
		require.False(t, got[len(parts)].Valid(), "written behind the parts")
		require.Zero(t, testing.AllocsPerRun(20, func() { h.SumMany(got, parts) }), "%v", a)
		h.SumMany(nil, nil)
		require.Panics(t, func() { h.SumMany(got[:1], parts) })
	}
}

func FuzzParse(f *testing.F) {
	f.Add("blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
	f.Add("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	f.Add("blake3-keyed:")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := digest.Parse(s)
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrInvalid)
			return
		}
		require.Equal(t, s, d.String())
	})
}
