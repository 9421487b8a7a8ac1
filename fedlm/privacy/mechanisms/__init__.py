"""What makes a release differentially private: one mechanism a file."""
