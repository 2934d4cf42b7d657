"""tools/fuzz: damaged inputs, kills and a lying server against every reader, and a table of what came of it."""
