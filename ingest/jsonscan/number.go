package jsonscan

import (
	"strconv"
	"strings"
)

// pow10 are the powers of ten that a float64 holds exactly.
var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// Number reads a number, rounded to the nearest float64 as strconv.ParseFloat does.
func (s *Scanner) Number() (float64, error) {
	s.Peek()
	data, start := s.data, s.pos
	i := start
	negative := i < len(data) && data[i] == '-'
	if negative {
		i++
	}
	var mantissa uint64
	first := i
	for i < len(data) && data[i]-'0' <= 9 {
		mantissa = mantissa*10 + uint64(data[i]-'0')
		i++
	}
	digits := i - first
	if digits == 0 {
		s.pos = i
		return 0, s.errorf(KindSyntax, i, s.found(), "a digit")
	}
	if data[first] == '0' && digits > 1 {
		s.pos = first + 1
		return 0, s.errorf(KindSyntax, s.pos, s.found(), "no digit after a leading 0")
	}
	exponent := 0
	if i < len(data) && data[i] == '.' {
		i++
		first := i
		for i < len(data) && data[i]-'0' <= 9 {
			mantissa = mantissa*10 + uint64(data[i]-'0')
			i++
		}
		if i == first {
			s.pos = i
			return 0, s.errorf(KindSyntax, i, s.found(), "a digit")
		}
		exponent = first - i
		digits += i - first
	}
	exact := digits <= 18 // the mantissa did not overflow
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		i++
		minus := false
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			minus = data[i] == '-'
			i++
		}
		first, e := i, 0
		for i < len(data) && data[i]-'0' <= 9 {
			if e < 10_000 {
				e = e*10 + int(data[i]-'0')
			}
			i++
		}
		if i == first {
			s.pos = i
			return 0, s.errorf(KindSyntax, i, s.found(), "a digit")
		}
		if minus {
			e = -e
		}
		exponent += e
	}
	s.pos = i
	if exact && mantissa < 1<<53 && exponent >= -22 && exponent <= 22 {
		// One rounding of two exact values: Clinger's fast path.
		f := float64(mantissa)
		if exponent < 0 {
			f /= pow10[-exponent]
		} else {
			f *= pow10[exponent]
		}
		if negative {
			f = -f
		}
		return f, nil
	}
	f, err := strconv.ParseFloat(str(data[start:i]), 64)
	if err != nil {
		return 0, s.errorf(KindNumber, start, strings.Clone(str(data[start:min(i, start+32)])), "a number of at most 1.8e308")
	}
	return f, nil
}
