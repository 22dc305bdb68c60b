{{/* Names, labels and the image: what more than one template says. */}}

{{- define "redoubt-operator.name" -}}
{{- if contains "redoubt-operator" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-redoubt-operator" .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "redoubt-operator.selector" -}}
app.kubernetes.io/name: redoubt-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "redoubt-operator.labels" -}}
{{ include "redoubt-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "redoubt-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "redoubt-operator.name" .) }}
{{- else }}{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "redoubt-operator.image" -}}
{{- with .Values.image }}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* One binding's subjects: the operator's service account. */}}
{{- define "redoubt-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "redoubt-operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
