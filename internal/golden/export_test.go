package golden

// Open reads a reference file from memory.
var Open = open
