package main

import (
	"strings"
	"testing"
)

func TestParseInsert(t *testing.T) {
	for _, tc := range []struct{ sql, want, format, inline string }{
		{"INSERT INTO t (a, b) FORMAT Native", "INSERT INTO t (a, b) ", "Native", ""},
		{"insert into t format CSV\n1,2\n", "insert into t ", "CSV", "1,2\n"},
		{"INSERT INTO t VALUES (1), (2)", "INSERT INTO t ", "Values", " (1), (2)"},
		{"INSERT INTO t (`format`, \"values\") FORMAT TSV", "INSERT INTO t (`format`, \"values\") ", "TSV", ""},
		{"/* FORMAT X */ INSERT INTO t -- VALUES\n FORMAT TSV", "/* FORMAT X */ INSERT INTO t -- VALUES\n ", "TSV", ""},
		{"INSERT INTO t (a);", "INSERT INTO t (a)", "", ""},
		{"INSERT INTO t SETTINGS async_insert = 0 FORMAT Native", "INSERT INTO t SETTINGS async_insert = 0 ", "Native", ""},
	} {
		got, ok := parseInsert(tc.sql)
		if !ok || got != (insertion{tc.want, tc.format, tc.inline}) {
			t.Errorf("parseInsert(%q) = %+v, %v; want %q %q %q", tc.sql, got, ok, tc.want, tc.format, tc.inline)
		}
	}
	for _, sql := range []string{"", "SELECT 1", "INSERT INTO t SELECT 1 FORMAT Null", "INSERT INTO t WITH 1 AS x SELECT x", "INSERT INTO t FROM INFILE 'x' FORMAT CSV"} {
		if got, ok := parseInsert(sql); ok {
			t.Errorf("parseInsert(%q) = %+v, want none", sql, got)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT 1": "TSV", "SELECT 1 FORMAT JSON": "JSON", "SELECT 1 format CSV;": "CSV", "SELECT 1 FORMAT CSV SETTINGS max_threads = 1": "CSV",
		"SELECT format FROM t": "TSV", "SELECT 'FORMAT JSON'": "TSV", "SELECT 1 -- FORMAT JSON": "TSV", "SELECT 1 FORMAT JSON -- x": "JSON",
		"SELECT * FROM (SELECT 1 FORMAT JSON)": "TSV", "SELECT format('{}', 'x') FORMAT CSV": "CSV",
	} {
		if got := formatOf(sql, "TSV"); got != want {
			t.Errorf("formatOf(%q) = %s, want %s", sql, got, want)
		}
	}
}

func TestHeaderOf(t *testing.T) {
	for _, tc := range []struct {
		format, piece string
		want          int
	}{
		{"CSV", "1,2\n", 0}, {"CSVWithNames", "\"a\nb\",\"c\"\n1,2\n", 10}, {"TSVWithNamesAndTypes", "a\nInt8\n1\n", 7},
		{"RowBinaryWithNames", "\x02\x01a\x02bcXY", 6}, {"RowBinaryWithNamesAndTypes", "\x01\x01a\x04Int8X", 8}, {"RowBinaryWithNames", "\x09\x01", 2},
	} {
		header, streams := headerOf(tc.format)
		if got := header([]byte(tc.piece)); !streams || got != tc.want {
			t.Errorf("%s: header of %d bytes, streams %v; want %d", tc.format, got, streams, tc.want)
		}
	}
	for _, format := range []string{"JSON", "Parquet", "Pretty", "XML", "Arrow", "ArrowStream", "nonsense"} {
		if _, streams := headerOf(format); streams {
			t.Errorf("%s cannot be put together from pieces", format)
		}
	}
}

func TestParseException(t *testing.T) {
	e := parseException("Code: 60. DB::Exception: Unknown table. (UNKNOWN_TABLE)\n")
	if e.code != 60 || e.status() != 404 || !strings.HasPrefix(e.Error(), "Code: 60.") {
		t.Errorf("%+v", e)
	}
	if e := parseException("no code"); e.code != 1002 || e.status() != 500 {
		t.Errorf("%+v", e)
	}
}

// FuzzTokens looks for texts that the splitter cannot take.
func FuzzTokens(f *testing.F) {
	for _, s := range []string{"SELECT 1", "INSERT INTO t VALUES ('a\\", "/*", "--", "'", "`", "(((", "#!", "\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		end := 0
		for _, k := range tokens(sql, 1<<20) {
			if k.start < end || k.end <= k.start || k.end > len(sql) || sql[k.start:k.end] != k.text {
				t.Fatalf("token %+v after %d", k, end)
			}
			end = k.end
		}
		parseInsert(sql)
		formatOf(sql, "")
	})
}
