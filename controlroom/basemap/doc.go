// Package basemap serves the base map that the page draws under the city: a file of the operator's own open
// data, GeoJSON or PMTiles, or none.
//
// A Map promises that the file was readable and of a form that the page can draw when it was opened. It
// holds no file open: one that is replaced is served anew, with another ETag. It is safe for concurrent use.
package basemap
