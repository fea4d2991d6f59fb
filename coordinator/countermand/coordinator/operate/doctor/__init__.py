"""Examines RabbitMQ, Redis, the coordinators and the participants: what is wrong, why it matters, how to mend it.

Nothing is changed by being examined. What can't be reached or may not be asked is said so, and hides nothing else.
"""

from countermand.coordinator.operate.doctor.checkup import examine
from countermand.coordinator.operate.doctor.examination import Area, Examination, Severity, worst

__all__ = ["examine", "Examination", "Area", "Severity", "worst"]
