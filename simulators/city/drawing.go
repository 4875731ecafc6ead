package city

// The drawing: what was set down by hand, in degrees of longitude and latitude. Coast and borders
// are within a few hundred metres of what a resident would draw from memory; that is the intent.

type lonLat [2]float64

// Corners shared by districts, so that these meet without a gap.
var (
	stationCorner  = lonLat{13.3554, 38.1051}
	palaceCorner   = lonLat{13.3474, 38.1160}
	calaCorner     = lonLat{13.3667, 38.1248}
	kalsaCorner    = lonLat{13.3747, 38.1139}
	oretoBridge    = lonLat{13.3755, 38.1000}
	oretoValley    = lonLat{13.3850, 38.0800}
	grifone        = lonLat{13.4000, 38.0580}
	basile         = lonLat{13.3480, 38.0980}
	villagrazia    = lonLat{13.3350, 38.0850}
	altofonte      = lonLat{13.3250, 38.0600}
	cuccio         = lonLat{13.2450, 38.1150}
	boccadifalco   = lonLat{13.2850, 38.1220}
	passoDiRigano  = lonLat{13.3200, 38.1200}
	billiemi       = lonLat{13.2500, 38.1400}
	cruillas       = lonLat{13.2950, 38.1400}
	uditore        = lonLat{13.3200, 38.1380}
	malaspina      = lonLat{13.3380, 38.1300}
	fiera          = lonLat{13.3330, 38.1470}
	pellegrinoFoot = lonLat{13.3520, 38.1490}
	acquasanta     = lonLat{13.3700, 38.1430}
	sanLorenzo     = lonLat{13.3300, 38.1660}
	tommasoNatale  = lonLat{13.3000, 38.1680}
	raffoRosso     = lonLat{13.2550, 38.1650}
)

// The coast of the city from its eastern border to its western one, in four stretches that meet at
// district corners.
var (
	southernCoast = []lonLat{
		{13.4500, 38.0880}, {13.4370, 38.0930}, {13.4250, 38.0980}, {13.4110, 38.1020}, {13.4000, 38.1060},
		{13.3930, 38.1075}, {13.3850, 38.1105}, {13.3790, 38.1120}, kalsaCorner,
	}
	oldCoast = []lonLat{
		kalsaCorner, {13.3742, 38.1165}, {13.3727, 38.1192}, {13.3719, 38.1215}, {13.3702, 38.1211},
		{13.3672, 38.1203}, {13.3662, 38.1214}, {13.3688, 38.1228}, {13.3690, 38.1240}, calaCorner,
	}
	harbourCoast = []lonLat{
		calaCorner, {13.3675, 38.1268}, {13.3705, 38.1266}, {13.3706, 38.1275}, {13.3678, 38.1286},
		{13.3684, 38.1312}, {13.3712, 38.1314}, {13.3712, 38.1323}, {13.3684, 38.1334}, {13.3680, 38.1360},
		{13.3701, 38.1377}, {13.3692, 38.1402}, acquasanta,
	}
	northernCoast = []lonLat{
		acquasanta, {13.3722, 38.1447}, {13.3716, 38.1472}, {13.3745, 38.1496}, {13.3757, 38.1540},
		{13.3744, 38.1590}, {13.3752, 38.1655}, {13.3736, 38.1720}, {13.3690, 38.1790}, {13.3630, 38.1850},
		{13.3540, 38.1915}, {13.3460, 38.1940}, {13.3380, 38.1948}, {13.3310, 38.1965}, {13.3268, 38.1985},
		{13.3252, 38.2020}, {13.3258, 38.2060}, {13.3290, 38.2092}, {13.3330, 38.2120}, {13.3362, 38.2165},
		{13.3300, 38.2215}, {13.3180, 38.2238}, {13.3060, 38.2228}, {13.2960, 38.2180}, {13.2880, 38.2125},
		{13.2832, 38.2090}, {13.2805, 38.2050}, {13.2782, 38.2015}, {13.2740, 38.2012}, {13.2700, 38.2035},
		{13.2630, 38.1990},
	}
	// Beyond the borders, for the background only.
	easternShore = []lonLat{{13.6000, 38.1150}, {13.5650, 38.1080}, {13.5400, 38.1130}, {13.5250, 38.1050}, {13.5000, 38.0920}, {13.4750, 38.0840}}
	westernShore = []lonLat{{13.2500, 38.1975}, {13.2380, 38.1930}, {13.2250, 38.1850}, {13.2050, 38.1800}, {13.1850, 38.1820}, {13.1600, 38.1750}, {13.1300, 38.1680}, {13.1000, 38.1600}}
	inland       = []lonLat{{13.1000, 37.9600}, {13.6000, 37.9600}}
)

type drawnDistrict struct {
	id, name string
	outline  []lonLat
}

// The districts, eight as in the real city, of our own cut and name.
var drawnDistricts = []drawnDistrict{
	{"centro-storico", "Centro Storico", joined(oldCoast, palaceCorner, stationCorner)},
	{"settecannoli", "Settecannoli e Brancaccio", joined(southernCoast, oretoBridge, oretoValley, grifone, lonLat{13.4350, 38.0660}, lonLat{13.4550, 38.0780})},
	{"oreto", "Oreto e Villagrazia", []lonLat{kalsaCorner, stationCorner, basile, villagrazia, altofonte, {13.3600, 38.0520}, grifone, oretoValley, oretoBridge}},
	{"calatafimi", "Calatafimi e Altarello", []lonLat{stationCorner, palaceCorner, passoDiRigano, boccadifalco, cuccio, {13.2650, 38.0920}, {13.3000, 38.0780}, altofonte, villagrazia, basile}},
	{"zisa", "Zisa, Noce e Uditore", []lonLat{palaceCorner, malaspina, uditore, cruillas, billiemi, cuccio, boccadifalco, passoDiRigano}},
	{"resuttana", "Resuttana e San Lorenzo", []lonLat{uditore, fiera, sanLorenzo, tommasoNatale, raffoRosso, billiemi, cruillas}},
	{"mondello", "Mondello e Pallavicino", joined(northernCoast, lonLat{13.2500, 38.1850}, raffoRosso, tommasoNatale, sanLorenzo, fiera, pellegrinoFoot)},
	{"liberta", "Politeama e Libertà", joined(harbourCoast, pellegrinoFoot, fiera, uditore, malaspina, palaceCorner)},
}

type drawnMountain struct {
	name    string
	outline []lonLat
}

var drawnMountains = []drawnMountain{
	{"Monte Pellegrino", []lonLat{{13.3400, 38.1525}, {13.3520, 38.1500}, {13.3610, 38.1510}, {13.3680, 38.1570}, {13.3702, 38.1640}, {13.3695, 38.1720}, {13.3640, 38.1800}, {13.3550, 38.1870}, {13.3450, 38.1885}, {13.3400, 38.1830}, {13.3385, 38.1720}, {13.3378, 38.1620}}},
	{"Monte Gallo", []lonLat{{13.2960, 38.2075}, {13.3060, 38.2035}, {13.3160, 38.2060}, {13.3240, 38.2105}, {13.3315, 38.2150}, {13.3270, 38.2200}, {13.3170, 38.2222}, {13.3060, 38.2210}, {13.2950, 38.2160}}},
	{"Monte Billiemi", []lonLat{{13.2550, 38.1500}, {13.2700, 38.1440}, {13.2840, 38.1490}, {13.2860, 38.1620}, {13.2790, 38.1740}, {13.2640, 38.1800}, {13.2540, 38.1700}}},
	{"Monte Cuccio", []lonLat{{13.2200, 38.1200}, {13.2300, 38.0980}, {13.2550, 38.0950}, {13.2760, 38.1020}, {13.2800, 38.1150}, {13.2690, 38.1270}, {13.2450, 38.1320}}},
	{"Monte Grifone", []lonLat{{13.3940, 38.0640}, {13.4050, 38.0520}, {13.4300, 38.0540}, {13.4380, 38.0680}, {13.4200, 38.0780}, {13.4020, 38.0760}}},
	{"Monte Caputo", []lonLat{{13.2700, 38.0880}, {13.2800, 38.0740}, {13.3000, 38.0700}, {13.3060, 38.0780}, {13.2950, 38.0880}, {13.2820, 38.0950}}},
}

// roadClass ranks streets; wide ones carry the loops and the buses.
type roadClass string

const (
	ring        roadClass = "ring"
	avenue      roadClass = "avenue"
	residential roadClass = "residential"
)

type drawnStreet struct {
	name  string
	class roadClass
	line  []lonLat
}

// The avenues. What of one lies in the sea or on a mountain is cut away.
var drawnStreets = []drawnStreet{
	{"Viale della Regione Siciliana", ring, []lonLat{{13.4050, 38.0840}, {13.3900, 38.0850}, {13.3650, 38.0880}, {13.3480, 38.0915}, {13.3360, 38.0990}, {13.3280, 38.1080}, {13.3220, 38.1200}, {13.3150, 38.1360}, {13.3070, 38.1500}, {13.2970, 38.1650}, {13.2860, 38.1800}, {13.2810, 38.1890}}},
	{"Corso Vittorio Emanuele", avenue, []lonLat{{13.3528, 38.1108}, {13.3615, 38.1157}, {13.3712, 38.1196}}},
	{"Via Maqueda", avenue, []lonLat{{13.3662, 38.1097}, {13.3615, 38.1157}, {13.3573, 38.1206}}},
	{"Via Ruggero Settimo", avenue, []lonLat{{13.3573, 38.1206}, {13.3547, 38.1246}}},
	{"Via della Libertà", avenue, []lonLat{{13.3547, 38.1246}, {13.3500, 38.1325}, {13.3440, 38.1430}}},
	{"Viale del Fante", avenue, []lonLat{{13.3440, 38.1430}, {13.3370, 38.1530}, {13.3340, 38.1620}, {13.3320, 38.1720}}},
	{"Viale dell'Addaura", avenue, []lonLat{{13.3310, 38.1940}, {13.3420, 38.1920}, {13.3530, 38.1895}, {13.3620, 38.1835}, {13.3680, 38.1770}}},
	{"Viale Regina Margherita", avenue, []lonLat{{13.3320, 38.1720}, {13.3300, 38.1830}, {13.3265, 38.1945}, {13.3238, 38.2000}, {13.3244, 38.2058}, {13.3280, 38.2085}}},
	{"Via Roma", avenue, []lonLat{{13.3685, 38.1107}, {13.3636, 38.1170}, {13.3572, 38.1258}}},
	{"Via Lincoln", avenue, []lonLat{{13.3662, 38.1097}, {13.3732, 38.1132}}},
	{"Via Oreto", avenue, []lonLat{{13.3655, 38.1088}, {13.3700, 38.1010}, {13.3745, 38.0925}, {13.3775, 38.0865}}},
	{"Corso Calatafimi", avenue, []lonLat{{13.3528, 38.1108}, {13.3400, 38.1062}, {13.3280, 38.1010}, {13.3160, 38.0950}, {13.3050, 38.0880}}},
	{"Corso Tukory", avenue, []lonLat{{13.3662, 38.1097}, {13.3570, 38.1068}, {13.3528, 38.1108}}},
	{"Corso dei Mille", avenue, []lonLat{{13.3695, 38.1098}, {13.3800, 38.1040}, {13.3930, 38.0965}, {13.4080, 38.0885}}},
	{"Via Messina Marine", avenue, []lonLat{{13.3745, 38.1122}, {13.3850, 38.1086}, {13.4000, 38.1042}, {13.4110, 38.1002}, {13.4250, 38.0960}, {13.4400, 38.0900}}},
	{"Foro Italico", avenue, []lonLat{{13.3736, 38.1128}, {13.3733, 38.1165}, {13.3716, 38.1192}}},
	{"Via Francesco Crispi", avenue, []lonLat{{13.3655, 38.1225}, {13.3660, 38.1270}, {13.3665, 38.1330}, {13.3663, 38.1380}}},
	{"Via dell'Arenella", avenue, []lonLat{{13.3663, 38.1380}, {13.3680, 38.1430}, {13.3698, 38.1470}, {13.3722, 38.1500}, {13.3738, 38.1545}, {13.3727, 38.1590}}},
	{"Via Notarbartolo", avenue, []lonLat{{13.3500, 38.1325}, {13.3390, 38.1285}, {13.3290, 38.1255}, {13.3185, 38.1270}}},
	{"Via Dante", avenue, []lonLat{{13.3547, 38.1230}, {13.3440, 38.1190}, {13.3340, 38.1160}, {13.3240, 38.1150}}},
	{"Viale Lazio", avenue, []lonLat{{13.3440, 38.1430}, {13.3330, 38.1385}, {13.3230, 38.1355}, {13.3150, 38.1360}}},
	{"Viale Strasburgo", avenue, []lonLat{{13.3330, 38.1385}, {13.3260, 38.1500}, {13.3170, 38.1600}, {13.3070, 38.1690}}},
	{"Viale dell'Olimpo", avenue, []lonLat{{13.2970, 38.1650}, {13.3040, 38.1760}, {13.3130, 38.1860}, {13.3238, 38.1965}}},
	{"Via Partanna Mondello", avenue, []lonLat{{13.3070, 38.1690}, {13.3150, 38.1790}, {13.3200, 38.1900}, {13.3225, 38.1995}}},
	{"Via Sferracavallo", avenue, []lonLat{{13.2970, 38.1750}, {13.2870, 38.1900}, {13.2800, 38.1985}}},
	{"Via Imperatore Federico", avenue, []lonLat{{13.3610, 38.1370}, {13.3530, 38.1410}, {13.3440, 38.1430}}},
	{"Via Leonardo da Vinci", avenue, []lonLat{{13.3390, 38.1285}, {13.3270, 38.1300}, {13.3150, 38.1345}, {13.3010, 38.1370}}},
	{"Via Pitrè", avenue, []lonLat{{13.3280, 38.1080}, {13.3130, 38.1110}, {13.2960, 38.1140}}},
	{"Via Ernesto Basile", avenue, []lonLat{{13.3570, 38.1068}, {13.3510, 38.1005}, {13.3480, 38.0915}, {13.3470, 38.0800}, {13.3430, 38.0700}}},
	{"Via Villagrazia", avenue, []lonLat{{13.3700, 38.1010}, {13.3620, 38.0930}, {13.3580, 38.0820}, {13.3560, 38.0720}}},
	{"Via Montepellegrino", avenue, []lonLat{{13.3590, 38.1300}, {13.3610, 38.1370}, {13.3620, 38.1440}}},
	{"Via Emerico Amari", avenue, []lonLat{{13.3547, 38.1246}, {13.3658, 38.1262}}},
	{"Via Sciuti", avenue, []lonLat{{13.3400, 38.1220}, {13.3370, 38.1340}, {13.3330, 38.1385}}},
	{"Via Galileo Galilei", avenue, []lonLat{{13.3185, 38.1270}, {13.3030, 38.1260}, {13.2930, 38.1300}}},
	{"Via Giafar", avenue, []lonLat{{13.3930, 38.0965}, {13.3900, 38.0850}}},
	{"Via Brancaccio", avenue, []lonLat{{13.3870, 38.0998}, {13.4020, 38.0945}, {13.4160, 38.0905}}},
}

// A drawnQuarter is built up with side streets in two directions.
type drawnQuarter struct {
	bearing         float64 // of the first direction, degrees
	along, across   float64 // metres between streets in either direction
	wobble, missing float64 // metres out of straight; share of blocks without the street
	outline         []lonLat
}

var drawnQuarters = []drawnQuarter{
	{330, 85, 120, 14, 0.30, []lonLat{{13.3560, 38.1060}, {13.3490, 38.1155}, {13.3660, 38.1240}, {13.3735, 38.1190}, {13.3742, 38.1135}}},
	{332, 125, 165, 3, 0.10, []lonLat{{13.3500, 38.1175}, {13.3400, 38.1335}, {13.3370, 38.1420}, {13.3520, 38.1440}, {13.3600, 38.1370}, {13.3660, 38.1250}}},
	{355, 130, 170, 8, 0.15, []lonLat{{13.3600, 38.1300}, {13.3570, 38.1450}, {13.3690, 38.1440}, {13.3675, 38.1300}}},
	{290, 120, 150, 12, 0.22, []lonLat{{13.3480, 38.1165}, {13.3410, 38.1290}, {13.3230, 38.1340}, {13.3220, 38.1190}, {13.3320, 38.1150}}},
	{295, 150, 210, 16, 0.30, []lonLat{{13.3210, 38.1190}, {13.3180, 38.1350}, {13.3000, 38.1400}, {13.2880, 38.1320}, {13.2980, 38.1230}}},
	{300, 125, 170, 14, 0.25, []lonLat{{13.3530, 38.1050}, {13.3470, 38.1150}, {13.3300, 38.1140}, {13.3290, 38.1060}, {13.3400, 38.0990}}},
	{310, 220, 300, 25, 0.38, []lonLat{{13.3280, 38.1060}, {13.3210, 38.1180}, {13.2950, 38.1180}, {13.3050, 38.0900}, {13.3200, 38.0950}}},
	{345, 120, 160, 8, 0.20, []lonLat{{13.3720, 38.1120}, {13.3560, 38.1050}, {13.3500, 38.0950}, {13.3660, 38.0900}, {13.3740, 38.1000}}},
	{350, 260, 330, 30, 0.40, []lonLat{{13.3640, 38.0890}, {13.3500, 38.0900}, {13.3400, 38.0720}, {13.3600, 38.0640}, {13.3800, 38.0750}, {13.3780, 38.0880}}},
	{25, 135, 185, 12, 0.22, []lonLat{{13.3760, 38.1110}, {13.3780, 38.0980}, {13.3930, 38.0870}, {13.4150, 38.0890}, {13.4180, 38.0985}, {13.3900, 38.1075}}},
	{25, 250, 300, 20, 0.38, []lonLat{{13.4180, 38.0985}, {13.4150, 38.0800}, {13.4450, 38.0770}, {13.4450, 38.0890}}},
	{325, 135, 185, 8, 0.16, []lonLat{{13.3370, 38.1400}, {13.3160, 38.1380}, {13.3080, 38.1520}, {13.2990, 38.1660}, {13.3090, 38.1690}, {13.3300, 38.1600}, {13.3370, 38.1490}}},
	{320, 180, 240, 18, 0.32, []lonLat{{13.3130, 38.1380}, {13.2960, 38.1420}, {13.2890, 38.1500}, {13.2890, 38.1620}, {13.2970, 38.1630}}},
	{350, 145, 190, 12, 0.24, []lonLat{{13.3100, 38.1690}, {13.3340, 38.1610}, {13.3360, 38.1720}, {13.3310, 38.1840}, {13.3150, 38.1840}}},
	{20, 125, 170, 8, 0.18, []lonLat{{13.3130, 38.1850}, {13.3300, 38.1840}, {13.3340, 38.1930}, {13.3250, 38.1990}, {13.3245, 38.2050}, {13.3120, 38.2010}}},
	{335, 200, 260, 20, 0.34, []lonLat{{13.2960, 38.1700}, {13.3060, 38.1740}, {13.3110, 38.1850}, {13.2980, 38.2010}, {13.2780, 38.2000}, {13.2840, 38.1860}}},
	{10, 110, 150, 8, 0.20, []lonLat{{13.3690, 38.1450}, {13.3755, 38.1450}, {13.3755, 38.1590}, {13.3710, 38.1590}, {13.3670, 38.1500}}},
}

// sideStreets are dealt out to the side streets in order; then they come again, with a number.
var sideStreets = []string{
	"Alloro", "Candelai", "Bandiera", "Lattarini", "Divisi", "Calderai", "Argenteria", "Discesa dei Giudici", "Beati Paoli", "Gioiamia",
	"Zagara", "Gelsomino", "Carrubo", "Mandorlo", "Ulivo", "Fico d'India", "Nespolo", "Melograno", "Bergamotto", "Cedro", "Limoni", "Aranci",
	"Bouganvillea", "Oleandri", "Tamerici", "Palme nane", "Capperi", "Finocchietto", "Rosmarino", "Origano",
	"Erice", "Segesta", "Selinunte", "Solunto", "Himera", "Mozia", "Enna", "Cefalù", "Sciacca", "Noto", "Modica", "Taormina", "Lipari",
	"Ustica", "Favignana", "Levanzo", "Marettimo", "Pantelleria", "Salina", "Stromboli", "Filicudi", "Linosa",
	"Scirocco", "Maestrale", "Libeccio", "Grecale", "Tramontana", "Ponente", "Levante",
	"Pescatori", "Cordari", "Bottai", "Maniscalchi", "Cartari", "Tintori", "Conciatori", "Funai", "Vetrai", "Ceramisti", "Carrettieri",
	"Pupari", "Cantastorie", "Musici", "Orefici", "Sellai", "Ferrai", "Lanaioli", "Setaioli",
	"Ruggero Secondo", "Costanza", "Guglielmo", "Idrisi", "Ibn Hawqal", "Al Kalbi", "Ciullo", "Jacopo da Lentini", "Antonello", "Serpotta",
	"Bellini", "Scarlatti", "Verga", "Pirandello", "Quasimodo", "Archimede", "Empedocle", "Gorgia", "Teocrito", "Diodoro", "Stesicoro",
	"Conca d'Oro", "Kemonia", "Papireto", "Danisinni", "Fonte", "Qanat", "Gebbia", "Senia", "Noria", "Mulini", "Torre", "Baglio", "Casale",
	"Santa Lucia", "San Martino", "Sant'Agata", "San Calogero", "Santa Ninfa", "Sant'Oliva", "San Giusto", "San Leo",
}

// joined is a coast closed by further corners.
func joined(coast []lonLat, rest ...lonLat) []lonLat {
	return append(coast[:len(coast):len(coast)], rest...)
}
