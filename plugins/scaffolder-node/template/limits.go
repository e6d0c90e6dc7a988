package template

// Limits bound what one template may use. A field that is zero has its
// default. The defaults are generous: they stop hostile and runaway templates
// and are not met by others.
type Limits struct {
	// SourceBytes is the length of a template. Default 8 MiB.
	SourceBytes int64
	// Nodes is the number of parts of a parsed template. Default 1,000,000.
	Nodes int64
	// Depth is how deep expressions, statements and calls of macros may nest.
	// Default 512.
	Depth int64
	// Steps counts evaluated parts, iterations, and items that filters and
	// methods read or make. Default 1,000,000.
	Steps int64
	// OutputBytes is the length of all text that is written, including that
	// which set, filter and macros capture. Default 16 MiB.
	OutputBytes int64
	// TextBytes is the length of all texts that operators, filters and methods
	// read or make; it bounds memory and time. Default 128 MiB.
	TextBytes int64
	// HostCalls is the number of calls of filters and global functions of the
	// host. Default 4096.
	HostCalls int64
	// RegexpSteps is the work of all regular expressions together, in
	// characters read and ways back tried. Default 20,000,000.
	RegexpSteps int64
}

func (l Limits) withDefaults() Limits {
	for _, field := range []struct {
		value   *int64
		standby int64
	}{
		{&l.SourceBytes, 8 << 20},
		{&l.Nodes, 1_000_000},
		{&l.Depth, 512},
		{&l.Steps, 1_000_000},
		{&l.OutputBytes, 16 << 20},
		{&l.TextBytes, 128 << 20},
		{&l.HostCalls, 4096},
		{&l.RegexpSteps, 20_000_000},
	} {
		if *field.value <= 0 {
			*field.value = field.standby
		}
	}
	return l
}
