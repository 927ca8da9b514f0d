// Package pattern has regular expressions that are compiled at their first use: those of a whole program, compiled before it
// begins, are a good part of the time until its first answer.
package pattern

import (
	"regexp"
	"sync"
)

// Pattern is a regular expression.
type Pattern struct {
	get func() *regexp.Regexp
}

// New returns the Pattern of an expression in regexp's syntax. One that is wrong panics at its first use.
func New(expression string) *Pattern {
	return &Pattern{sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })}
}

// MatchString reports whether s contains a match of the expression.
func (p *Pattern) MatchString(s string) bool { return p.get().MatchString(s) }

// FindStringSubmatch returns the first match in s and those of its parts; nil means that there is none.
func (p *Pattern) FindStringSubmatch(s string) []string { return p.get().FindStringSubmatch(s) }
