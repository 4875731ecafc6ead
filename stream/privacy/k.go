package privacy

// Enough reports whether a cell of a statistic may be told under a threshold of k: it tells of nobody,
// or of at least k objects. A figure that is a mean, a speed or a share is told with the count of the
// objects it was made of, and both or neither. Take care that what is withheld cannot be had by
// subtraction: where a total is told beside its cells, withhold a second cell, or the total.
func Enough(count uint64, k int) bool { return count == 0 || count >= uint64(max(k, 1)) }
