// A module of nothing.
