package video

// hash mixes keys into 64 bits (splitmix64); it is the only source of chance in this package.
func hash(keys ...uint64) uint64 {
	h := uint64(0x566964656f)
	for _, k := range keys {
		h ^= k
		h += 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// unit is a number in [0,1) made of keys.
func unit(keys ...uint64) float64 { return float64(hash(keys...)>>11) / (1 << 53) }

// within is a number in [least, greatest) made of keys.
func within(least, greatest float64, keys ...uint64) float64 {
	return least + (greatest-least)*unit(keys...)
}

// pick is one of all, chosen by keys.
func pick[T any](all []T, keys ...uint64) T { return all[hash(keys...)%uint64(len(all))] }

func clamp(v, least, greatest float64) float64 { return min(max(v, least), greatest) }
