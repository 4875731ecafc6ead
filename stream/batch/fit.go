package batch

// Fit encodes as many of the first rows as come to at most most bytes, and says how many those are; one that does not fit
// by itself is encoded nevertheless, for the log to refuse it by name. The same rows give the same batches.
func Fit[T any](rows []T, most int, encode func([]T) ([]byte, error)) (n int, data []byte, err error) {
	for n = len(rows); ; n = (n + 1) / 2 {
		if data, err = encode(rows[:n]); err != nil || len(data) <= most || n <= 1 {
			return n, data, err
		}
	}
}
