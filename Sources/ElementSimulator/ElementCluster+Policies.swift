extension ElementCluster {
    static let policyMethods: [String: Method] = [
        "CreateQoSPolicy": { (cluster, parameters) throws(ElementError) in
            let name: String = try parameters.required("name")
            try cluster.checkName(name, "name")
            guard parameters.has("qos") else { throw .missing("qos") }
            let qos = try cluster.qos(&parameters, beside: cluster.state.defaultQoS)
            guard cluster.state.policies.count < cluster.limits.policyCount else {
                throw .exceeded("Exceeded maximum number of QoS policies")
            }
            let policy = QoSPolicyRecord(qosPolicyID: cluster.state.takeID(), name: name, qos: qos)
            cluster.state.policies[policy.qosPolicyID] = policy
            return ["qosPolicy": cluster.json(policy)]
        },
        "GetQoSPolicy": { (cluster, parameters) throws(ElementError) in
            ["qosPolicy": cluster.json(try cluster.policy(parameters.required("qosPolicyID")))]
        },
        "ListQoSPolicies": { (cluster, _) throws(ElementError) in
            let policies = cluster.state.policies.values.sorted { $0.qosPolicyID < $1.qosPolicyID }
            return ["qosPolicies": .array(policies.map(cluster.json))]
        },
        "ModifyQoSPolicy": { (cluster, parameters) throws(ElementError) in
            var policy = try cluster.policy(parameters.required("qosPolicyID"))
            if let name: String = try parameters.optional("name") {
                try cluster.checkName(name, "name")
                policy.name = name
            }
            policy.qos = try cluster.qos(&parameters, beside: policy.qos)
            cluster.state.policies[policy.qosPolicyID] = policy
            for volume in cluster.state.volumes.values where volume.qosPolicyID == policy.qosPolicyID {
                cluster.state.volumes[volume.volumeID]?.qos = policy.qos
            }
            return ["qosPolicy": cluster.json(policy)]
        },
        "DeleteQoSPolicy": { (cluster, parameters) throws(ElementError) in
            let policy = try cluster.policy(parameters.required("qosPolicyID"))
            cluster.state.policies[policy.qosPolicyID] = nil
            // Volumes keep the values.
            for volume in cluster.state.volumes.values where volume.qosPolicyID == policy.qosPolicyID {
                cluster.state.volumes[volume.volumeID]?.qosPolicyID = nil
            }
            return [:]
        },
        "GetDefaultQoS": { (cluster, _) throws(ElementError) in cluster.json(cluster.state.defaultQoS) },
        "SetDefaultQoS": { (cluster, parameters) throws(ElementError) in
            cluster.state.defaultQoS = try cluster.qos(members: &parameters, beside: cluster.state.defaultQoS)
            let qos = cluster.state.defaultQoS
            return [
                "minIOPS": .integer(qos.minIOPS), "maxIOPS": .integer(qos.maxIOPS),
                "burstIOPS": .integer(qos.burstIOPS),
            ]
        },
    ]

    private func policy(_ id: Int) throws(ElementError) -> QoSPolicyRecord {
        guard let policy = state.policies[id] else { throw .noPolicy(id) }
        return policy
    }

    private func json(_ policy: QoSPolicyRecord) -> JSONValue {
        let volumes = state.volumes.values.filter { $0.qosPolicyID == policy.qosPolicyID }.map(\.volumeID).sorted()
        return [
            "name": .string(policy.name), "qos": json(policy.qos), "qosPolicyID": .integer(policy.qosPolicyID),
            "volumeIDs": JSONValue(volumes),
        ]
    }
}
