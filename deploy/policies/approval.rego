# The approval policy: may the chosen remediation run without a person's approval?
#
# It fails closed: every concern stands until the input clears it, and while one stands a person is
# asked. A field that is missing, null or of the wrong type clears nothing. To change what runs by
# itself, change the rules that clear concerns; to change what people are told, change the reasons.
package aianalysis.approval

import rego.v1

default require_approval := true

require_approval := false if standing == set()

standing := {
	"environment_not_automatic",
	"failed_detections",
	"incomplete_input",
	"low_confidence",
	"repeated_recovery",
	"unread_evidence",
	"unvalidated_target",
} - cleared

# Environments in which remediation may run by itself, in lower case; names are compared without
# regard to case. Any other name, and none, needs a person.
cleared contains "environment_not_automatic" if environment in {
	"dev", "development",
	"qa",
	"sandbox",
	"stage", "staging",
	"test", "testing",
}

cleared contains "failed_detections" if input.failed_detections == []

# Confidence in the chosen workflow, 0 to 1.
cleared contains "low_confidence" if {
	is_number(input.confidence)
	input.confidence >= 0.8
	input.confidence <= 1
}

cleared contains "repeated_recovery" if input.is_recovery_attempt == false

cleared contains "repeated_recovery" if {
	input.is_recovery_attempt == true
	is_number(input.recovery_attempt_number)
	input.recovery_attempt_number >= 1
	input.recovery_attempt_number < 3
}

# Nothing that could not be read might have changed the cause that was found.
cleared contains "unread_evidence" if input.gaps_touching_cause == 0

cleared contains "unvalidated_target" if input.target_in_owner_chain == true

# What no other rule reads must be there too: a caller that leaves it out is not to be trusted.
cleared contains "incomplete_input" if {
	is_string(input.signal_type)
	is_string(input.severity)
	is_string(input.business_priority)
	is_string(input.target_resource.kind)
	is_string(input.target_resource.name)
	is_string(input.target_resource.namespace)
	is_object(input.detected_labels)
	is_object(input.custom_labels)
	is_array(input.warnings)
	is_number(input.recovery_attempt_number)
	is_string(input.root_cause_severity)
	is_string(input.workflow_id)
	input.workflow_id != ""
}

environment := lower(input.environment) if is_string(input.environment)

production if environment in {"live", "prd", "prod", "production"}

# Outside production, warnings and stateful workloads do not ask for a person by themselves.
noted contains "production" if production

noted contains "production_warnings" if {
	production
	input.warnings != []
}

noted contains "production_stateful" if {
	production
	input.detected_labels.stateful == true
}

# The names of the concerns that stand and of what was noted; "automatic" when nothing stands.
matched_rules := {"automatic"} if not require_approval

matched_rules := standing | noted if require_approval

rule := decisive.rule

reason := decisive.reason

# The rule that decides, one of the matched ones, and what people are told: the first that applies.
decisive := {
	"rule": "automatic",
	"reason": sprintf("Auto-approved: %v is a non-production environment; confidence, target and evidence suffice", [environment]),
} if {
	not require_approval
} else := {
	"rule": "repeated_recovery",
	"reason": sprintf("Recovery attempt %v: repeated recovery attempts require a person's approval", [input.recovery_attempt_number]),
} if {
	input.is_recovery_attempt == true
	is_number(input.recovery_attempt_number)
	input.recovery_attempt_number >= 3
} else := {
	"rule": "unvalidated_target",
	"reason": "Production environment with an unvalidated target requires a person's approval",
} if {
	production
	"unvalidated_target" in standing
} else := {
	"rule": "failed_detections",
	"reason": "Production environment with failed detections requires a person's approval",
} if {
	production
	"failed_detections" in standing
} else := {
	"rule": "production_warnings",
	"reason": "Production environment with warnings requires a person's approval",
} if {
	"production_warnings" in noted
} else := {
	"rule": "production_stateful",
	"reason": "Production environment with a stateful workload requires a person's approval",
} if {
	"production_stateful" in noted
} else := {
	"rule": "production",
	"reason": "Production environment requires a person's approval",
} if {
	production
} else := {
	"rule": "environment_not_automatic",
	"reason": sprintf("Environment %q is not known to be non-production, so a person must approve", [environment]),
} if {
	"environment_not_automatic" in standing
} else := {
	"rule": "environment_not_automatic",
	"reason": "The environment is not given, so a person must approve",
} if {
	"environment_not_automatic" in standing
} else := {
	"rule": "low_confidence",
	"reason": sprintf("Confidence %v is not between 0.8 and 1, so a person must approve", [input.confidence]),
} if {
	"low_confidence" in standing
} else := {
	"rule": "low_confidence",
	"reason": "Confidence is not given, so a person must approve",
} if {
	"low_confidence" in standing
} else := {
	"rule": "unvalidated_target",
	"reason": "The target is not validated, so a person must approve",
} if {
	"unvalidated_target" in standing
} else := {
	"rule": "failed_detections",
	"reason": "Detections of the target's traits failed, so a person must approve",
} if {
	"failed_detections" in standing
} else := {
	"rule": "unread_evidence",
	"reason": "Evidence that could change the cause was not read, so a person must approve",
} if {
	"unread_evidence" in standing
} else := {
	"rule": "repeated_recovery",
	"reason": "The recovery attempt has no valid number, so a person must approve",
} if {
	"repeated_recovery" in standing
} else := {
	"rule": "incomplete_input",
	"reason": "The input is incomplete, so a person must approve",
}
