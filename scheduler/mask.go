package scheduler

import (
	"iter"
	"math/bits"
)

// Mask is a set of positions in a Snapshot: word k holds the bits of block k.
type Mask []uint64

// Count returns the number of positions in m.
func (m Mask) Count() int {
	n := 0
	for _, w := range m {
		n += bits.OnesCount64(w)
	}
	return n
}

// Has reports whether p is in m.
func (m Mask) Has(p int) bool { return m[p/blockSize]>>(p%blockSize)&1 == 1 }

// Remove takes p out of m.
func (m Mask) Remove(p int) { m[p/blockSize] &^= 1 << (p % blockSize) }

// All yields the positions in m in order. m may be changed at the position just yielded.
func (m Mask) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for k, w := range m {
			for ; w != 0; w &= w - 1 {
				if !yield(k*blockSize + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}
