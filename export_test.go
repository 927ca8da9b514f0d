package cloud

// Collections lists everything that a Cloud keeps in its store.
var Collections = collections
