"""Students: small classifiers of different families, to see what the texts they learn from are worth."""

from privdistill.evaluation.students.families import OTHER, STUDENTS, Scores, majority_score, train_and_test
from privdistill.evaluation.students.student import Answers, Student

__all__ = ["OTHER", "STUDENTS", "Answers", "Scores", "Student", "majority_score", "train_and_test"]
