package catalogcommon

// DefaultNamespace is the namespace of entities that state none.
const DefaultNamespace = "default"

// Annotations with a meaning to the catalog itself.
const (
	// AnnotationLocation is the location ref that the entity was read from.
	AnnotationLocation = "backstage.io/managed-by-location"
	// AnnotationOriginLocation is the location ref at the root of the ingestion.
	AnnotationOriginLocation = "backstage.io/managed-by-origin-location"
	// AnnotationSourceLocation is the location ref of the source code.
	AnnotationSourceLocation = "backstage.io/source-location"
	// AnnotationOrphan is "true" on entities that nothing emits any more.
	AnnotationOrphan = "backstage.io/orphan"
	// AnnotationViewURL is where a person can look at the entity's file.
	AnnotationViewURL = "backstage.io/view-url"
	// AnnotationEditURL is where a person can edit the entity's file.
	AnnotationEditURL = "backstage.io/edit-url"

	// AnnotationKubernetesAPIServer is the URL of a cluster's API server.
	AnnotationKubernetesAPIServer = "kubernetes.io/api-server"
	// AnnotationKubernetesAPIServerCA is the certificate authority of that server.
	AnnotationKubernetesAPIServerCA = "kubernetes.io/api-server-certificate-authority"
	// AnnotationKubernetesAuthProvider says how to authenticate with it.
	AnnotationKubernetesAuthProvider = "kubernetes.io/auth-provider"
)

// Relation types, in pairs of a direction and its reverse.
const (
	RelationOwnedBy = "ownedBy"
	RelationOwnerOf = "ownerOf"

	RelationConsumesAPI   = "consumesApi"
	RelationAPIConsumedBy = "apiConsumedBy"
	RelationProvidesAPI   = "providesApi"
	RelationAPIProvidedBy = "apiProvidedBy"

	RelationDependsOn    = "dependsOn"
	RelationDependencyOf = "dependencyOf"

	RelationParentOf  = "parentOf"
	RelationChildOf   = "childOf"
	RelationMemberOf  = "memberOf"
	RelationHasMember = "hasMember"
	RelationPartOf    = "partOf"
	RelationHasPart   = "hasPart"
)

// ReverseRelation returns the other direction of a well-known relation type,
// or "" for a type that has none.
func ReverseRelation(relationType string) string {
	for _, pair := range [...][2]string{
		{RelationOwnedBy, RelationOwnerOf},
		{RelationConsumesAPI, RelationAPIConsumedBy},
		{RelationProvidesAPI, RelationAPIProvidedBy},
		{RelationDependsOn, RelationDependencyOf},
		{RelationParentOf, RelationChildOf},
		{RelationMemberOf, RelationHasMember},
		{RelationPartOf, RelationHasPart},
	} {
		switch relationType {
		case pair[0]:
			return pair[1]
		case pair[1]:
			return pair[0]
		}
	}
	return ""
}

// API versions of the built-in kinds.
const (
	APIVersionV1alpha1 = "backstage.io/v1alpha1"
	APIVersionV1beta1  = "backstage.io/v1beta1"
	APIVersionTemplate = "scaffolder.backstage.io/v1beta3"
)

// StatusTypeProcessing marks the status items that the catalog adds for
// errors of its own processing loop.
const StatusTypeProcessing = "backstage.io/catalog-processing"
