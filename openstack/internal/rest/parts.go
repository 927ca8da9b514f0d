package rest

import (
	"errors"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/nubecula/cloud/fault"
)

// Parts are a list that was encoded before: each part has some of its elements, with commas between them.
type Parts [][]byte

// MarshalJSON implements json.Marshaler.
func (p Parts) MarshalJSON() ([]byte, error) { return p.append(nil), nil }

func (p Parts) append(b []byte) []byte {
	b = append(b, '[')
	for i, part := range p {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, part...)
	}
	return append(b, ']')
}

// atOnce is how many elements are worth a processor of their own.
const atOnce = 100

// InParts encodes a list, a long one on all processors: encode returns some elements with commas between them.
func InParts[T any](all []T, encode func(some []T) ([]byte, error)) (Parts, error) {
	n := max(1, min(runtime.GOMAXPROCS(0), len(all)/atOnce))
	parts, errs := make(Parts, n), make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			defer func() {
				if p := recover(); p != nil { // nobody else would: it would be the end of the process
					errs[i] = fault.New(fault.Internal, "panic: %v\n%s", p, debug.Stack())
				}
			}()
			parts[i], errs[i] = encode(all[i*len(all)/n : (i+1)*len(all)/n])
		})
	}
	wait.Wait()
	return parts, errors.Join(errs...)
}
