"""What an LMS gives, class lists and archives, becomes students in the gradebook and folders in grading/submitted."""
