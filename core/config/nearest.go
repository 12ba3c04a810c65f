package config

import "strings"

// Nearest is the candidate that word was most likely meant to be, or "" if none is near: a slip in every third character at most.
// Case, and `-` for `_`, do not count. Of two equally near, the first. If none is near, the one that goes on where the word ends, or ends
// where it goes on.
func Nearest(word string, candidates []string) string {
	if len(word) > maxWord {
		return ""
	}
	if len(candidates) > maxCandidates {
		candidates = candidates[:maxCandidates]
	}
	w := fold(word)
	best, least := "", max(1, len(w)/3)+1 // nearer than this
	for _, c := range candidates {
		f := fold(c)
		if len(f) > maxWord || abs(len(f)-len(w)) >= least {
			continue
		}
		if f == w {
			return c
		}
		if d := distance(w, f); d < least {
			best, least = c, d
		}
	}
	if best == "" {
		return lengthened(w, candidates)
	}
	return best
}

// lengthened is the one candidate that the word begins with, or that begins with it: `directory` for `dir`, `compress` for `compression`.
func lengthened(w string, candidates []string) (found string) {
	for _, c := range candidates {
		f := fold(c)
		if min(len(w), len(f)) < 3 || !strings.HasPrefix(w, f) && !strings.HasPrefix(f, w) {
			continue
		}
		if found != "" {
			return ""
		}
		found = c
	}
	return found
}

// Bounds of the cost of comparing: no name of anything is longer, no list of names worth suggesting from has more.
const (
	maxWord       = 128
	maxCandidates = 1000
)

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours that make a into b (optimal string
// alignment), over bytes: names are ASCII.
func distance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}

// didYouMean is the help for a word that is none of the candidates.
func didYouMean(word string, candidates []string, known string) string {
	if n := Nearest(word, candidates); n != "" {
		return "did you mean `" + n + "`?"
	}
	if len(candidates) == 0 {
		return ""
	}
	const most = 24
	list := candidates
	more := ""
	if len(list) > most {
		list, more = list[:most], ", ..."
	}
	return known + " " + strings.Join(list, ", ") + more
}
