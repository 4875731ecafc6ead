package rules

import "time"

// nationalHoliday reports whether a day is an Italian national holiday, Easter Monday among them. Sundays
// are no holidays of themselves: weekday() tells them.
func nationalHoliday(year int, month time.Month, day int) bool {
	switch month*100 + time.Month(day) {
	case 101, 106, 425, 501, 602, 815, 1101, 1208, 1225, 1226: // of the law of 1949
		return true
	case 1004: // Saint Francis, again a holiday from 2026
		return year >= 2026
	}
	easterMonth, easterDay := easter(year)
	sunday := time.Date(year, easterMonth, easterDay, 0, 0, 0, 0, time.UTC)
	for _, d := range []time.Time{sunday, sunday.AddDate(0, 0, 1)} {
		if d.Month() == month && d.Day() == day {
			return true
		}
	}
	return false
}

// easter is the Sunday of Easter, Gregorian (the anonymous algorithm of 1876).
func easter(year int) (time.Month, int) {
	a, b, c := year%19, year/100, year%100
	h := (19*a + b - b/4 - (b-(b+8)/25+1)/3 + 15) % 30
	l := (32 + 2*(b%4) + 2*(c/4) - h - c%4) % 7
	m := (a + 11*h + 22*l) / 451
	n := h + l - 7*m + 114
	return time.Month(n / 31), n%31 + 1
}
