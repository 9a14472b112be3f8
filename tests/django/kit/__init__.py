"""A sample project that tries the testing kit, and the cases that its runners run."""
