"""Selection of features: Kolmogorov-Arnold networks beside what is usually taken."""
