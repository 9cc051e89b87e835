{{/*
Names are fixed, not made from the release: sidecars, certificates and the operator itself rely on them, and two
operators in one cluster would write the same objects. A second release is refused by Helm, since the
cluster-wide objects belong to the first.
*/}}

{{/* Labels of every object; called with the root context. */}}
{{- define "mtls-operator.labels" -}}
app.kubernetes.io/name: mtls-operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Labels that select the pods of one component; called with its name. They never change: selectors are immutable. */}}
{{- define "mtls-operator.selector" -}}
app.kubernetes.io/name: mtls-operator
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* Image of the operator and of the webhook. */}}
{{- define "mtls-operator.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Image of the sidecars: what the webhook injects and what the admission policy accepts. */}}
{{- define "mtls-operator.proxyImage" -}}
{{ .Values.proxy.image.repository }}:{{ .Values.proxy.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Security context of a pod: the "restricted" Pod Security Standard. */}}
{{- define "mtls-operator.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Security context of a container: the "restricted" Pod Security Standard, and nothing to write to. */}}
{{- define "mtls-operator.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
{{- end }}

{{/* Settings of logs, the same for every component. */}}
{{- define "mtls-operator.logEnv" -}}
- name: MTLS_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
- name: MTLS_LOG_LEVEL
  value: {{ .Values.log.level | quote }}
{{- end }}

{{/* Where a component's pods may run; called with the component's values. */}}
{{- define "mtls-operator.scheduling" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
