// Package sealed encrypts the secrets of tasks while they lie in the database.
//
//	box, err := sealed.New("the newest key", "an older key")
//	text, err := box.Seal(taskID, secrets)
//	secrets, err := box.Open(taskID, text)
//
// The cipher is AES-256-GCM with a random nonce; its key is derived from the
// given one with HKDF-SHA-256. A sealed text names the key that it was sealed
// with and is bound to its task. The first key seals, all of them open, so keys
// are rotated by putting a new one in front.
package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// version begins every sealed text.
const version = "v1"

// ErrKey reports a text that was sealed with a key that is not there.
var ErrKey = errors.New("the secrets were sealed with a key that is not configured any more")

// Box seals and opens. It is safe for concurrent use.
type Box struct {
	first string // the name of the key that seals
	keys  map[string]cipher.AEAD
}

// New returns a box with keys, which are texts of any length with enough
// entropy. There has to be one.
func New(keys ...string) (*Box, error) {
	b := &Box{keys: map[string]cipher.AEAD{}}
	for _, key := range keys {
		derived, err := hkdf.Key(sha256.New, []byte(key), nil, "flytower scaffolder task secrets", 32+4)
		if err != nil {
			return nil, fmt.Errorf("derive a key for secrets: %w", err)
		}
		block, err := aes.NewCipher(derived[:32])
		if err != nil {
			return nil, fmt.Errorf("make the cipher for secrets: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("make the cipher for secrets: %w", err)
		}
		name := hex.EncodeToString(derived[32:])
		if b.first == "" {
			b.first = name
		}
		b.keys[name] = aead
	}
	if b.first == "" {
		return nil, errors.New("there is no key to seal secrets with")
	}
	return b, nil
}

// NewKey returns a random key.
func NewKey() string { return rand.Text() + rand.Text() }

// Seal encrypts a text for a task.
func (b *Box) Seal(task, text string) string {
	cipherText := b.keys[b.first].Seal(nil, nil, []byte(text), []byte(task))
	return version + "." + b.first + "." + base64.RawStdEncoding.EncodeToString(cipherText)
}

// Open decrypts what Seal made for the task. The error is [ErrKey], or tells
// that the text was changed or belongs to another task.
func (b *Box) Open(task, sealed string) (string, error) {
	v, rest, _ := strings.Cut(sealed, ".")
	name, text, ok := strings.Cut(rest, ".")
	if v != version || !ok {
		return "", errors.New("the secrets are not sealed in a known way")
	}
	aead, ok := b.keys[name]
	if !ok {
		return "", ErrKey
	}
	cipherText, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil {
		return "", fmt.Errorf("read sealed secrets: %w", err)
	}
	plain, err := aead.Open(nil, nil, cipherText, []byte(task))
	if err != nil {
		return "", fmt.Errorf("open sealed secrets: %w", err)
	}
	return string(plain), nil
}
