package gitrepo

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/flytower/flytower/core"
)

// Person is an author or a committer.
type Person struct {
	Name, Email string
}

// The defaults of commits.
const (
	DefaultName    = "Scaffolder"
	DefaultEmail   = "scaffolder@backstage.io"
	DefaultMessage = "Initial commit"
	DefaultBranch  = "master"
)

// CommitOptions describe a commit.
type CommitOptions struct {
	Tree    Hash
	Parents []Hash
	// Message is [DefaultMessage] if empty.
	Message string
	// Author is by default Scaffolder <scaffolder@backstage.io>, member by
	// member.
	Author Person
	// Committer is the author by default.
	Committer Person
	// When is the time of the commit. A commit with the same options has the
	// same hash: choose the time once per task.
	When time.Time
	// Key signs, if it is not nil.
	Key *SigningKey
}

// Commit is a commit. It survives JSON, so that it can be a checkpoint.
type Commit struct {
	// Hash names it, in hexadecimal digits.
	Hash string `json:"hash"`
	// Tree names its files.
	Tree string `json:"tree"`
	// Text is the object as git stores it.
	Text string `json:"text"`
}

// Details are what a commit says.
type Details struct {
	Message           string
	Author, Committer Person
	// When is the time of both.
	When time.Time
	// Signature is armored; empty if the commit is not signed.
	Signature string
}

// Details reads the text of the commit, for hosts that make commits by an API.
func (c Commit) Details() (Details, error) {
	text := &plumbing.MemoryObject{}
	text.SetType(plumbing.CommitObject)
	var read object.Commit
	_, err := text.Write([]byte(c.Text))
	if err == nil {
		err = read.Decode(text)
	}
	if err != nil {
		return Details{}, fmt.Errorf("read the commit %s: %w", c.Hash, err)
	}
	return Details{
		Message: read.Message, Author: Person{read.Author.Name, read.Author.Email}, Committer: Person{read.Committer.Name, read.Committer.Email},
		When: read.Committer.When, Signature: read.PGPSignature,
	}, nil
}

// Commit stores a commit.
func (r *Repo) Commit(o CommitOptions) (Commit, error) {
	author := object.Signature{Name: cmp.Or(clean(o.Author.Name), DefaultName), Email: cmp.Or(clean(o.Author.Email), DefaultEmail), When: o.When.UTC().Truncate(time.Second)}
	committer := author
	committer.Name, committer.Email = cmp.Or(clean(o.Committer.Name), author.Name), cmp.Or(clean(o.Committer.Email), author.Email)
	c := &object.Commit{
		Author: author, Committer: committer, Message: cmp.Or(o.Message, DefaultMessage),
		TreeHash: o.Tree, ParentHashes: o.Parents,
	}
	if o.Key != nil {
		plain := &plumbing.MemoryObject{}
		if err := c.EncodeWithoutSignature(plain); err != nil {
			return Commit{}, fmt.Errorf("write the commit: %w", err)
		}
		text, err := content(plain)
		if err != nil {
			return Commit{}, err
		}
		if c.PGPSignature, err = o.Key.sign(text, o.When); err != nil {
			return Commit{}, err
		}
	}
	out := &plumbing.MemoryObject{}
	if err := c.Encode(out); err != nil {
		return Commit{}, fmt.Errorf("write the commit: %w", err)
	}
	text, err := content(out)
	if err != nil {
		return Commit{}, err
	}
	hash, err := r.store.SetEncodedObject(out)
	if err != nil {
		return Commit{}, fmt.Errorf("store the commit: %w", err)
	}
	return Commit{hash.String(), o.Tree.String(), string(text)}, nil
}

// Restore stores a commit that was made before, in another run.
func (r *Repo) Restore(c Commit) error {
	hash, err := r.write(plumbing.CommitObject, int64(len(c.Text)), strings.NewReader(c.Text))
	if err == nil && hash.String() != c.Hash {
		err = fmt.Errorf("its hash is %s", hash)
	}
	if err != nil {
		return fmt.Errorf("restore the commit %s: %w", c.Hash, err)
	}
	return nil
}

func content(o plumbing.EncodedObject) ([]byte, error) {
	r, err := o.Reader()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r)
	return text, errors.Join(err, r.Close())
}

// clean takes away what would end the name or the line in a commit.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch r {
		case '<', '>', '\n', '\r', 0:
			return -1
		}
		return r
	}, s))
}

// SigningKey signs commits with OpenPGP.
type SigningKey struct {
	entity *openpgp.Entity
}

// ParseSigningKey reads an armored private key without a passphrase. The error
// has nothing of the key.
func ParseSigningKey(armored core.Token) (*SigningKey, error) {
	ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armored.Reveal()))
	switch {
	case err != nil:
		return nil, errors.New("the signing key is no armored OpenPGP private key")
	case len(ring) != 1:
		return nil, fmt.Errorf("the signing key has to be one OpenPGP key, and there are %d", len(ring))
	case ring[0].PrivateKey == nil:
		return nil, errors.New("the signing key is a public key; it has to be the private one")
	case ring[0].PrivateKey.Encrypted:
		return nil, errors.New("the signing key has a passphrase; it has to be without")
	}
	return &SigningKey{ring[0]}, nil
}

func (k *SigningKey) sign(text []byte, when time.Time) (string, error) {
	var out bytes.Buffer
	deterministic := false
	err := openpgp.ArmoredDetachSign(&out, k.entity, bytes.NewReader(text), &packet.Config{
		Time:                                  func() time.Time { return when },
		NonDeterministicSignaturesViaNotation: &deterministic,
	})
	if err != nil {
		return "", fmt.Errorf("sign the commit: %w", err)
	}
	return out.String() + "\n", nil
}
