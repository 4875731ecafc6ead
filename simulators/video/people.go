package video

import "slices"

// What may identify people. A plate or name that was sent is in Plates or Names, so that a test can
// search for it where it must not be.

// plateLetters are those of Italian plates.
const plateLetters = "ABCDEFGHJKLMNPRSTVWXYZ"

// plateOf is a plate of the form AA000AA.
func plateOf(key uint64) string {
	b := make([]byte, 7)
	for i := range b {
		n := hash(key, 'p', uint64(i))
		if i < 2 || i > 4 {
			b[i] = plateLetters[n%uint64(len(plateLetters))]
		} else {
			b[i] = '0' + byte(n%10)
		}
	}
	return string(b)
}

var (
	firstNames = []string{"Rosalia", "Salvatore", "Agata", "Calogero", "Concetta", "Gaspare", "Ninfa", "Ruggero", "Oliva", "Benedetto"}
	lastNames  = []string{"Quattrocchi", "Lo Cascio", "Inzerillo", "Badalamenti", "Schillaci", "Tranchina", "Cusimano", "Provenzano", "Zappalorto", "Buonfratello"}
)

func nameOf(key uint64) string {
	return pick(firstNames, key, 'n') + " " + pick(lastNames, key, 'l')
}

// female is a person's gender as some cameras tell it. Men's is left out: the word is part of others.
const female = "Female"

// plate notes that o's plate is sent and returns it.
func (b *books) plate(o *object) string {
	b.plates[o.plate] = struct{}{}
	return o.plate
}

// name notes that o's name is sent and returns it.
func (b *books) name(o *object) string { return b.personal(o.name) }

// personal notes a word about a person.
func (b *books) personal(word string) string {
	b.names[word] = struct{}{}
	return word
}

// Plates returns the number plates sent so far, sorted.
func (s *System) Plates() []string {
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	return sorted(s.books.plates)
}

// Names returns the names and other words about people sent so far, sorted.
func (s *System) Names() []string {
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	return sorted(s.books.names)
}

func sorted(set map[string]struct{}) []string {
	all := make([]string, 0, len(set))
	for s := range set {
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}
