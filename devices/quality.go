package devices

// Quality is a set of reasons to doubt an observation; 0 is a good one. The bits are stored.
type Quality = uint8

const (
	// QualityClock marks an observation stored under its receive time, its own being absurd.
	QualityClock Quality = 1 << iota
	// QualityRange marks a value outside its profile's min and max.
	QualityRange
	// QualityStuck marks a value that has not moved for longer than is credible.
	QualityStuck
	// QualityIdentity marks an observation of a device id that the registry has in another domain.
	QualityIdentity
	// QualityLate marks an observation that arrived after the lateness allowed to it.
	QualityLate
	// QualityUnknown marks an observation of a device that nobody has claimed.
	QualityUnknown
	// QualityRefresh marks video metadata that repeats a state which was told before: it is no news.
	QualityRefresh
)
