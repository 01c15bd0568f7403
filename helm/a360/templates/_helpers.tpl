{{- define "a360.name" -}}
{{- $default := contains "a360" .Release.Name | ternary .Release.Name (printf "%s-a360" .Release.Name) -}}
{{ .Values.fullnameOverride | default $default | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "a360.selector" -}}
app.kubernetes.io/name: a360
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "a360.labels" -}}
{{ include "a360.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "a360.prefix" -}}
{{ .Values.hub.baseUrl }}services/a360/
{{- end }}

{{- /* What the service and the upgrade of its database have in common. */}}
{{- define "a360.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - {name: home, mountPath: /var/lib/a360}
  - {name: tmp, mountPath: /tmp}
  - {name: config, mountPath: /etc/a360/config, readOnly: true}
  - {name: secrets, mountPath: /etc/a360/secrets, readOnly: true}
{{- end }}

{{- define "a360.env" -}}
- {name: A360_HOME, value: /var/lib/a360}
- {name: A360_SERVICE_CONFIG, value: /etc/a360/config/a360_service_config.py}
- {name: A360_SECRETS, value: /etc/a360/secrets}
- {name: A360_OPTIONS_KEY_FILE, value: /etc/a360/secrets/workspace-options.key}
- {name: HOME, value: /tmp}
{{- range $name, $value := .Values.extraEnv }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
